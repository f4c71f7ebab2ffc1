"""Inverted lists in files: approximate membership for large collections, exact scores from segments."""

from sightline.store.ivf.backend import IvfBackend

__all__ = ["IvfBackend"]
