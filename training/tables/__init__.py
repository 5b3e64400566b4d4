"""What the recipe for tables is made of: rows, targets, figures, and baselines."""
