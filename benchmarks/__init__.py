"""Performance goals of docs/PERFORMANCE.md, each a ratio of two things measured in one run."""
