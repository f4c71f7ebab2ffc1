"""One leased task: from registered images to a published segment."""
