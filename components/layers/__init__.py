"""Torch modules that architectures build from."""
