"""Measurements of serving and training, each beside a peer in the same run; make bench, make bench-training."""
