"""The signed policy: who takes part, which evidence is enough, and how each model is aggregated."""
