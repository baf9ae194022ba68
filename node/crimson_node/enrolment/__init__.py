"""How this site joins a federation, changes its keys and leaves: files first, then one signed request."""
