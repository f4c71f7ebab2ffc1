"""A picture-book world, drawn by our own code: scenes, pictures, sentences and what is true of what."""
