"""Use cases of a query: search, documents, patches of stored images."""
