"""Backups: points of time of a whole installation in one place, each file once, and back again.

In the place lie ``points/<time>-<installation>.json``, ``catalogs/<sha256>.sqlite``, ``segments/<name>``,
``codecs/<fingerprint>/<name>``, ``originals/ab/<sha256>`` and ``thumbnails/ab/<sha256>.webp``. A point names
its catalog by SHA-256 and the catalog names everything else with checksums of its own. It is written last, so
whatever interrupts a backup leaves the points before it as they are.
"""
