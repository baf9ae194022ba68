"""From checked totals to the next model: bounds, robust rule, noise, server optimiser."""
