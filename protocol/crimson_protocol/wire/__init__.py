"""Bytes on the wire: one strict encoding, bounded before it is parsed."""
