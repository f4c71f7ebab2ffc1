"""Folders that are followed: what appears in them, changes and goes is indexed."""
