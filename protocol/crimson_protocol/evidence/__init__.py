"""Attestation evidence (RFC 9334 terms): its format, its verification, its appraisal against policy.

`verify` judges signatures and freshness, `validate` judges claims; they are different modules, and a
verdict lists every named check of both.
"""
