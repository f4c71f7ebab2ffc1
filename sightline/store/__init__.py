"""Whatever outlives the process: the catalog in SQL, segments and generations, originals and thumbnails.

Nothing is imported here, so that ``sightline.store.segments`` (numpy only) does not pull in SQLAlchemy.
"""
