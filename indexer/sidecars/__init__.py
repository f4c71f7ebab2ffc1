"""Files beside pictures that say something of them: captions, facts, what Google Photos knows."""
