"""What the recipe for ratings is made of: ratings, newcomers, and baselines."""
