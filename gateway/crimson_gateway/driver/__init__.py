"""The one task that talks to the enclave and moves rounds on, through the database alone."""

from crimson_gateway.driver.driver import Driver

__all__ = ["Driver"]
