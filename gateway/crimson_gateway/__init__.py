"""The untrusted relay: it stores, forwards and keeps time. It holds no key that matters."""
