"""Architectures and losses that the recipes train."""
