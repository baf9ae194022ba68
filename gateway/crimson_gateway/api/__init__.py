"""The HTTPS API, one file per group of paths."""
