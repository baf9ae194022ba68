"""Cryptography: domain labels, the calls into the library, and checks that need public keys alone."""
