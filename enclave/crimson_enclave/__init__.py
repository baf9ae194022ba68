"""The trusted core: pure steps of a round, and the one place where a sum is opened. Imports protocol only."""
