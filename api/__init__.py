"""HTTP: FastAPI routes, schemas, and the web page. ``sightline.api.app.create_app(parts)`` is the way in.

Importing this package imports no framework: the roof reads ``api.settings`` from commands that serve nothing.
"""
