"""The catalog's statements, by subject. Every function takes a connection in a transaction; none commits.

Lock order (PostgreSQL; SQLite has one writer anyway): the collection row, then jobs, tasks, images.
Whatever changes images takes the collection row first, so the changes of one collection happen one after
another; leases are conditional updates of one task row and need no collection lock.
"""
