"""From a source to searchable: listing, registration, embedding, the queue, building."""
