"""A server of the Model Context Protocol, over its official SDK: what an assistant may ask of pictures."""
