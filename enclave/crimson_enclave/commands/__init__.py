"""The shell: `crimson enclave serve|evidence|measure`."""

from crimson_enclave.commands.shell import main

__all__ = ["main"]
