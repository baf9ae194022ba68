"""The process engine: a gateway over HTTPS, an enclave in its sandbox, and every node, each a process of its own."""
