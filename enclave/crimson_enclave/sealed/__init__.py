"""The sealed state: what survives a restart of the enclave, as one record, and its sealing. Touches no file."""
