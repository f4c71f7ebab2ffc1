"""From an image to words: captions, the filtering of texts (CapFilt), answers to questions."""
