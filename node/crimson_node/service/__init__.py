"""The agent as a service: one home, one gateway, one loop."""
