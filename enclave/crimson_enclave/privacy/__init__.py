"""Differential privacy at the enclave: the noise, what it costs, and what was spent already."""
