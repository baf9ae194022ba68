"""What all parties of a federation must agree on: wire, cryptography, policy, evidence, log. No I/O."""
