"""The gateway's end of the link to the enclave: one question at a time over a Unix socket, sizes bounded."""

from crimson_gateway.enclave_link.client import EnclaveLink, Refused, connected
from crimson_gateway.enclave_link.stream import LinkLost

__all__ = ["EnclaveLink", "LinkLost", "Refused", "connected"]
