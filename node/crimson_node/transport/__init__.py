"""The node's way out: HTTPS through whatever proxy the hospital has, every request signed. Nothing listens."""
