"""The recipe of the demo model: from nothing to a small BLIP-2 that knows the picture-book world.

``python -m demo.training OUT --work DIR`` runs every stage and resumes where it was stopped.
"""
