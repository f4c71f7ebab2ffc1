"""An upload while a large job waits in the queue: a real broker, a real worker process."""

from __future__ import annotations

from pathlib import Path

from sightline.indexer.uploads import Upload
from tests.indexer.test_indexer_looking import NEVER, made, processes, published
from tests.indexer.world import COLLECTION, Processes, picture, until

__all__ = ["processes"]


def test_an_upload_is_searchable_within_two_batches_of_a_large_job(
    tmp_path: Path, processes: Processes
) -> None:
    """By messages alone: the upload's stands behind those of the large job."""
    world = made(tmp_path, look=NEVER, sends=True, delay=0.1)
    names = world.draw(60)
    large = world.index()
    processes.append(world.begin("worker"))
    until("the first batch to be published", lambda: published(world, large.id) > 0, 60)
    upload, _ = world.indexer.add(COLLECTION, [Upload(picture(4000), "mine")])
    before = {image.key for image in world.live()}
    until("the upload to end", lambda: world.catalog.job(upload.id).state == "done", 60)
    (mine,) = (image for image in world.live() if image.image_id == "mine")
    earlier = [image for image in world.live() if image.published_at < mine.published_at]
    assert len([image for image in earlier if image.key not in before]) <= 2 * 4
    assert published(world, large.id) < 15, "the large job was over: this shows nothing"
    until("the large job to end", lambda: world.catalog.job(large.id).state == "done", 60)
    assert sorted(image.image_id for image in world.live()) == sorted([*names, "mine"])
    world.close()
