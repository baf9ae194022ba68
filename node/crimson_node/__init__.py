"""The hospital agent: data, training, masking, attestation checks and the site's own journal."""
