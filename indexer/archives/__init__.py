"""Pictures inside of archives, read in place."""
