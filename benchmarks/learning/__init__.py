"""What attacks, privacy and filters cost a model, each figure beside its goal."""
