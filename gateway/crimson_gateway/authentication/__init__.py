"""Who asks: request signatures (RFC 9421), checked before a byte of the body is read."""

from crimson_gateway.authentication.callers import Caller, Callers
from crimson_gateway.authentication.gate import Gate, Signed
from crimson_gateway.authentication.nonces import NonceBook

__all__ = ["Caller", "Callers", "Gate", "NonceBook", "Signed"]
