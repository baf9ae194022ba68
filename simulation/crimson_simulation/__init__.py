"""A whole federation on one machine. Nothing imports this room."""
