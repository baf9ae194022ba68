"""The messages of a round, one module per round: what the enclave says, and what a node answers."""
