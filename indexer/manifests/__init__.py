"""Tables of pictures: one module for each format."""
