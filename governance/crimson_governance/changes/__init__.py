"""What a new policy changes, told like a change request: who, what, and what follows from it."""
