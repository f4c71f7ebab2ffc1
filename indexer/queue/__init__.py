"""Messages, workers, and whether any are there."""
