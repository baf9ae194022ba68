"""Comparisons with other libraries, each in an environment of its own (.venv-oracles), never in the product's."""
