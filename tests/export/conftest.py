"""Trained models, made once, as for compression."""

from tests.compression.conftest import image, kitchen, text, work

__all__ = ["image", "kitchen", "text", "work"]
