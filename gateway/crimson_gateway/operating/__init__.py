"""The operator's side of the HTTPS API: what commands ask a gateway, here or elsewhere. Serving loads none of it."""
