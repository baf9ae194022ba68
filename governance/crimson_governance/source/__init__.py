"""A policy's source: a folder of YAML, Cedar and public keys, read once, strictly, and held in memory."""
