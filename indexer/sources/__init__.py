"""Every way to name pictures."""
