"""The demo world and the training of the shipped model. Not part of the wheel."""
