"""Sub-commands of `crimson` that this room brings."""
