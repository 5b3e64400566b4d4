"""Read a user's own data: find out what it holds, check all of it before the training, and split it."""
