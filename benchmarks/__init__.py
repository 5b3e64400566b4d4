"""Measurements beside a peer in the same run; make bench."""

import training  # noqa: F401 - the cure for torchvision comes before the first import of fastai or transformers
