"""The enclave's half of each round, one module per round, named as in protocol and node."""
