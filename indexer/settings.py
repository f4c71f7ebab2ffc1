"""Every number that the indexer can be told: plain frozen dataclasses, onto which the roof maps settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sightline.patch_levels import PatchLevel
from sightline.store.records import AUTO

RELEASED_SECONDS = 7 * 86_400.0
"""How long what was released stays in a place that nobody else uses."""


@dataclass(frozen=True)
class IndexerSettings:
    """Registration and embedding."""

    batch_size: int = 32
    """Images in one task: one lease, one segment."""
    register_batch: int = 256
    """Items registered in one transaction while the source is still being listed."""
    hash_threads: int = 2
    """Threads that read and hash the source."""
    lease_seconds: float = 60.0
    """How long a batch stays a worker's without a sign of life."""
    heartbeat_seconds: float | None = None
    """How often a lease is renewed; a third of its length when not given."""
    stall_seconds: float = 900.0
    """A batch that has not got on for this long hangs, and so does a worker that has done nothing, not even
    looked for work: its process ends with status 70, so that its supervisor starts it again. Longer than the
    model takes for one pass of ``encode_batch`` pictures; loading a model does not count.
    """
    max_attempts: int = 3
    """After so many unexpected errors a batch is halved; a picture alone in its batch has failed."""
    split_deaths: int = 2
    """A batch is halved when so many workers in a row died while they had it …"""
    max_deaths: int = 5
    """… and a picture that is alone in its batch has failed after so many (it can be retried)."""
    retry_pause_seconds: float = 1.0
    """Pause before a batch that failed unexpectedly is given back; doubled at each error."""
    look_seconds: float = 5.0
    """How often an idle worker looks for work in the catalog, whatever its broker says."""
    waiting_seconds: float = 300.0
    """Work that nobody has taken for this long is reported by ``ping worker``, ``/readyz``, ``doctor``."""
    trouble_seconds: float = 10.0
    """While workers can write nothing (a full disk, say): how long ``index`` goes on waiting for them before
    it stops and says what is wrong. They go on trying.
    """
    encode_batch: int | None = None
    """Pictures in one pass of the model; when not given, what was measured to be quickest, until then 8 on a
    CPU and 32 on an accelerator. Halved for good when the memory does not hold them.
    """
    measure_images: int = 2000
    """On a CPU: a job with at least so many pictures left makes its worker measure, once for a model and a
    class of machine, what is quickest, and whether int8 keeps tokens and orders; 0 measures never.
    """
    decode_chunk_images: int = 8
    """Originals read and decoded at once, at most, while the model works on those before."""
    decode_chunk_bytes: int = 64 << 20
    """… and their size on disk together (one picture alone may exceed it)."""
    patch_codec: PatchLevel = "auto"
    """How patches are kept in segments: ``fp16``; ``int8``, half of that; ``latent``, a linear latent fitted
    to the model, an eleventh; or ``none`` to re-encode originals at every rerank. ``auto``: ``fp16`` until a
    collection has ``codec_from`` images, then the smallest that keeps the order of its own pictures.
    """
    codec_from: int = 20_000
    """With ``auto``: images of a collection from which on its patches are compressed."""
    codec_keeps: float = 0.94
    """With ``auto``: Kendall τ and overlap of the best ten that a latent must keep; int8 0.98."""
    codec_sample: int = 1000
    """With ``latent`` or ``auto``: images in ``fp16`` that a codec is fitted to."""
    codec_rank: int | None = None
    """With ``latent`` or ``auto``: bytes kept of a patch beside its scale; an eleventh of ``fp16`` when not
    given.
    """
    codec_grid: bool | None = None
    """With ``latent`` or ``auto``: code the patches of an image together, which loses less and is slower to
    read; chosen by what would be lost when not given.
    """
    sample_texts_from: int = 10_000
    """A collection with at least so many images is given sample texts, vectors of its captions and of general
    sentences, which an approximate index learns from; 0: none is.
    """
    max_metadata_bytes: int = 64 << 10
    """The metadata of one picture as JSON, in bytes, and its caption, each: every answer repeats them. What
    is stored already stays.
    """
    thumbnail_bytes: int = 16_000
    """A thumbnail's usual size: for the estimate only."""
    poll_seconds: float = 0.2
    """How often ``wait`` looks at a job."""

    @property
    def heartbeat(self) -> float:
        """Seconds between two renewals of a lease."""
        return self.heartbeat_seconds if self.heartbeat_seconds is not None else self.lease_seconds / 3


@dataclass(frozen=True)
class IndexSettings:
    """Which kind of index a collection gets."""

    index: str = AUTO
    """``auto``, ``exact`` or a kind; a collection may say otherwise."""
    recall_target: float = 0.99
    """The part of the best 100 that an approximate index must find to serve under ``auto``."""
    approximate_from: int = 20_000
    """Images from which on ``auto`` means an approximate index, and exact again below half of that."""
    memory_bytes: int = 4 << 30
    """What an index may take of memory: the larger of the approximate kinds serves while it fits."""


@dataclass(frozen=True)
class BuilderSettings:
    """The background caretaker: sweeping, folding, merging, cleaning."""

    interval_seconds: float = 1.0
    """Pause between two passes."""
    lease_seconds: float = 60.0
    """The singleton lease: how soon another builder takes over from a dead one."""
    resend_seconds: float = 60.0
    """A task sent longer ago than this, still nobody's while the queue is empty, is sent again."""
    resend_limit: int = 1000
    """Messages re-sent in one pass, at most."""
    rest_seconds: float = 30.0
    """A collection that could not be tended (a full disk, a damaged segment) is left alone this long."""
    fold_min_images: int = 1000
    """A generation is built when more images than this are outside of the current one …"""
    fold_fraction: float = 0.10
    """… and more than this part of those inside …"""
    fold_max_bytes: int = 512 << 20
    """… or when the tokens of those outside take more than this: half of what a searching process keeps of
    them, beyond which each search would read them anew."""
    fold_dead_fraction: float = 0.30
    """… or when this part of what it holds is dead."""
    fold_idle_seconds: float = 5.0
    """A small collection is folded whole once nothing was published into it for this long …"""
    fold_idle_max_images: int = 10_000
    """… small being at most this many images; 0 turns it off."""
    merge_below_images: int = 1024
    """A segment smaller than this is small."""
    merge_at_least: int = 8
    """Small segments of one kind are merged once there are this many."""
    merge_max_bytes: int = 512 << 20
    """What one merge reads, at most: it is held in memory."""
    rewrite_dead_fraction: float = 0.30
    """A segment with a larger dead part is rewritten."""
    orphan_seconds: float = 3600.0
    """A file of ours that no row names is set aside once it was seen so for this long …"""
    aside_seconds: float = 86_400.0
    """… and deleted once it lay aside for this long."""
    retired_seconds: float = 600.0
    """A replaced segment or generation stays this long for searches that began before."""
    trash_seconds: float = 30 * 86_400.0
    """A deleted picture or collection can be restored for this long; 0 gives it up at the next pass."""
    released_seconds: float | None = None
    """The copied original and the thumbnail of a picture that was replaced, or has left the trash, stay this
    long, unless another picture has the same bytes; and never less than ``orphan_seconds`` after the bytes
    last came in. Not given: seven days when the originals lie in the data folder; else they stay, for other
    installations may share the place that ``SIGHTLINE_ORIGINALS`` names. Pictures that were indexed where
    they are keep their files.
    """
    clean_seconds: float = 60.0
    """How often folders are compared with the catalog."""
    silent_seconds: float = 120.0
    """A listing by ``sightline index`` without a sign of life for this long has died: its job ends as failed
    once what it registered is indexed. Longer than ``SIGHTLINE_INDEXER__LEASE_SECONDS``.
    """
    stale_registration_seconds: float = 6 * 3600.0
    """So does one by an API server, which any API server that may read its sources takes up again before, and
    any other job that still registers.
    """
    verify_seconds: float = 86_400.0
    """How often the checksum of a generation is read again in full."""

    def alone(self) -> BuilderSettings:
        """As these, where nobody else keeps originals: what was released goes after a time of grace."""
        return self if self.released_seconds is not None else replace(self, released_seconds=RELEASED_SECONDS)


@dataclass(frozen=True)
class BrokerSettings:
    """Where messages travel. They carry task ids only; losing them all loses no work."""

    url: str = "filesystem://"
    """``filesystem://`` (one machine, one worker), ``redis://``, ``valkey://`` or ``amqp://``."""
    folder: Path | None = None
    """Where the filesystem broker keeps its messages; the others need none."""
    queue: str = "sightline"
    """The queue's name; installations that share a broker need different ones."""
    polling_interval: float = 0.1
    """Seconds between two looks at an empty folder."""
    connect_seconds: float = 3.0
    """How long one attempt to reach the broker may take."""
    reply_seconds: float = 10.0
    """How long the broker may take to answer on a connection; then the connection is given up."""
    send_seconds: float = 3.0
    """How long whoever registers work waits for the broker to take a message; then the builder sends it."""
    rest_seconds: float = 10.0
    """A broker that did not take a message is left alone so long: nobody else waits for it meanwhile."""
    send_retries: int = 2
    """Attempts to send a message after the first."""
