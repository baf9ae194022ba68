"""Governance: the policy's source compiled, checked, explained, signed by several governors, and published."""
