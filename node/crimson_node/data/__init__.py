"""A site's own rows: what a dataset declares, and how a file is read and checked against it."""
