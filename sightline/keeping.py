"""The parts that keep an installation's bytes safe and need the pillars only: no model, no queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.lazy import once
from sightline.pillars import Pillars

if TYPE_CHECKING:
    from sightline.indexer.building.purging import Purging
    from sightline.indexer.originals import Originals
    from sightline.upkeep.backups.backup import Backup
    from sightline.upkeep.backups.restoring import Restore
    from sightline.upkeep.folders import Folders
    from sightline.upkeep.repair_bytes import BytesRepair
    from sightline.upkeep.stored_bytes import StoredBytes


class Keeping(Pillars):
    """Originals, what looks at them, backups, and what erases. Thread-safe."""

    @once
    def originals(self) -> Originals:
        """The bytes of registered images, wherever they lie."""
        from sightline.indexer.originals import Originals

        return Originals(self.blobs, self.settings.imaging.max_bytes)

    @once
    def stored_bytes(self) -> StoredBytes:
        """Looks at originals and thumbnails."""
        from sightline.upkeep.stored_bytes import StoredBytes

        return StoredBytes(self.catalog, self.blobs, self.originals)

    @once
    def bytes_repair(self) -> BytesRepair:
        """Fetches originals and makes thumbnails again."""
        from sightline.upkeep.repair_bytes import BytesRepair

        return BytesRepair(self.stored_bytes, self.blobs, self.originals, self.decoder)

    @once
    def backup(self) -> Backup:
        """Copies this installation."""
        from sightline.store.codec_files import CodecFiles
        from sightline.upkeep.backups.backup import Backup

        told = self.settings
        folders = (told.data_folder, told.segments_folder, told.generations_folder)
        codecs = CodecFiles(told.segments_folder)
        stored = (self.catalog, self.blobs, self.originals)
        return Backup(*stored, told.segments_folder, codecs, folders)

    @once
    def restore(self) -> Restore:
        """Makes this installation from a backup; lets nobody else open the catalog until this is closed."""
        from sightline.upkeep.backups.restoring import Restore, Target

        told = self.settings
        folders = (told.segments_folder, told.generations_folder)
        target = Target(told.catalog_url, self.catalog_lock, *folders, self.blobs)
        return Restore(target, self._settle_in)

    def _settle_in(self) -> None:
        """The folders are those of the catalog that lies there now."""
        from sightline.store.ownership import adopt

        adopt(self.places, self.catalog)

    @once
    def purging(self) -> Purging:
        """Erases pictures."""
        from sightline.indexer.building.purging import Purging

        self.claim_folders()
        settings = self.settings.builder_settings
        parts = (self.catalog, self.blobs, self.segments, self.indexes)
        return Purging(*parts, settings, index=self.settings.index_settings)

    @once
    def folders(self) -> Folders:
        """Whose the folders are, and what lies in them."""
        from sightline.upkeep.folders import Folders

        return Folders(self.catalog, lambda: self.places)
