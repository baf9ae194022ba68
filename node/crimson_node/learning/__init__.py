"""Training and scoring on one site's rows; nothing here talks to anybody."""
