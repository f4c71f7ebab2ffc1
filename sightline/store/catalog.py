"""The catalog: the one truth about collections, images, jobs, leases, segments and generations, in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sightline.store.database import Database, make_engine
from sightline.store.migrate import migrate as bring_to_head
from sightline.store.sql import (
    backups,
    builder,
    calibrations,
    collections,
    duplicates,
    failure_lines,
    failures,
    features,
    filtering,
    finishing,
    health,
    images,
    installation,
    integrity,
    items,
    jobs,
    keys,
    leases,
    listings,
    locations,
    loose,
    mending,
    originals,
    pruning,
    publishing,
    purging,
    queries,
    registration,
    releasing,
    saved,
    saved_judging,
    saved_telling,
    singletons,
    sorting,
    sources,
    text_sampling,
    text_search,
    texts,
    trash,
)
from sightline.store.sql.rows import collection_named
from sightline.store.sql_methods import named, read, read_at, write, write_at

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sightline.store.settings import DatabaseSettings


def open_catalog(
    url: str,
    migrate: bool = True,
    now: Callable[[], float] | None = None,
    settings: DatabaseSettings | None = None,
) -> Catalog:
    """The catalog at ``sqlite:////path/catalog.sqlite`` or ``postgresql://…``, migrated to the newest schema.

    ``now`` replaces the database's clock, which all processes share.
    Raises UnavailableError when the database cannot be reached or is newer than this program.
    """
    database = Database(make_engine(url, settings), settings)
    if migrate:
        bring_to_head(database)
    return Catalog(database.engine, now, settings)


@named
class Catalog:
    """Thread-safe; every method is one transaction: the SQL function of that name, which documents it.

    The functions stand in ``sightline/store/sql``: a parameter is added there, and nowhere else. In a group
    the name that hides its module stands last.
    """

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], float] | None = None,
        settings: DatabaseSettings | None = None,
    ) -> None:
        self.database = Database(engine, settings)
        self.clock = now

    def forget_old_pages(self, seconds: float) -> bool:
        """See `sightline.store.database.Database.forget_old_pages`."""
        return self.database.forget_old_pages(seconds)

    def close(self) -> None:
        """Gives all connections back."""
        self.database.close()

    now = read_at(queries.now)

    create_collection = write_at(collections.create)
    collection = read(collection_named)
    collection_counts = read(collections.counts)
    collection_counts_of = read(collections.counts_of)
    overview = read(collections.overview)
    serving_generations = read(collections.serving_generations)
    delete_collection = write_at(trash.delete_collection)
    collections = read(collections.every)

    newest_calibration = read(calibrations.newest)
    calibration_history = read(calibrations.history)
    add_calibration = write_at(calibrations.add)

    create_job = write_at(jobs.create)
    register = write_at(registration.register)
    record_failures = write_at(failure_lines.record_failures)
    add_tasks = write_at(items.add_tasks)
    note_duplicates = write_at(registration.note_duplicates)
    prunable = write(pruning.prunable)
    prune = write_at(pruning.prune)
    move_source = write_at(sources.move)
    sources = read(sources.known)
    seal_job = write_at(jobs.seal)
    unsealed_jobs = read_at(listings.unsealed)
    note_resumed = write(listings.note_resumed)
    note_found = write(listings.note_found)
    note_passed_over = write(listings.note_passed_over)
    end_listing = write_at(listings.end_early)
    job = read(registration.find_job)
    job_progress = read(jobs.progress)
    job_errors = read(failures.errors)
    job_report = read(failures.report)
    job_error_page = read(failures.error_page)
    job_reasons = read(failures.reasons)
    cancel_job = write_at(jobs.cancel)
    fail_job = write_at(jobs.fail)
    note_trouble = write(jobs.note_trouble)
    retry_job = write_at(jobs.retry)
    jobs = read(jobs.recent)

    task = read(leases.find_task)
    mark_sent = write_at(leases.mark_sent)
    unsent_tasks = read_at(leases.unsent)
    acquire = write_at(leases.acquire)
    acquire_next = write_at(leases.acquire_next)
    renew = write_at(leases.renew)
    release = write_at(leases.release)
    survived = write(leases.survived)
    split = write_at(leases.split)
    expire_leases = write_at(leases.expire)
    takeable_tasks = read_at(leases.takeable)
    backlog = read_at(leases.backlog)
    publish = write_at(publishing.publish)
    finish = write_at(finishing.finish)

    image = read(images.one)
    update_image = write_at(images.change)
    delete_images = write_at(images.delete)
    describe = read(images.describe)
    describe_found = read(images.describe_found)
    kept_images = read(images.kept)
    sort_values = read(sorting.sort_values)
    find_live_by_sha = read(locations.live_by_sha)
    placements_in = read(locations.placements_in)
    locations = read(locations.locations)
    images = read(images.page)

    restore_images = write(trash.restore)
    empty_trash = write_at(trash.empty)
    expire_trash = write_at(trash.expire)
    trashed_collections = read(trash.trashed)
    restore_collection = write(trash.restore_collection)
    empty_collection = write_at(trash.empty_collection)

    begin_purge = write_at(purging.begin)
    begin_collection_purge = write_at(purging.begin_collection)
    begin_trashed_purge = write_at(trash.begin_trashed_purge)
    outstanding_purges = read(purging.outstanding)
    holding_segments = read(purging.holding_segments)
    placed_keys = read(purging.placed_keys)
    drop_generation = write_at(purging.drop_generation)
    scrub_purged = write(purging.scrub)
    forget_purges = write(purging.forget)

    unhashed_images = read(duplicates.unhashed)
    count_unhashed = read(duplicates.count_unhashed)
    picture_hashes = read(duplicates.hashes)
    note_hashes = write(duplicates.note)
    duplicate_stamp = read(duplicates.stamp)
    alike = read(duplicates.alike)
    names_of = read(duplicates.names_of)

    texts_of = read(texts.of_images)
    text_page = read(texts.page)
    overrule_text = write(texts.overrule)
    withdraw_overruling = write(texts.withdraw)
    text_counts = read(texts.counts)
    text_probabilities = read(texts.probabilities)
    iter_texts = read(texts.every)
    search_texts = read(text_search.search)
    sampling_state = read_at(text_sampling.sampling_state)
    draw_texts = read(text_sampling.draw_texts)

    create_saved = write_at(saved.create)
    saved_searches = read(saved.every)
    saved_search = read(saved.find)
    change_saved = write(saved.change)
    remove_saved = write(saved.remove)
    saved_members = read(saved.members)
    saved_members_after = read(saved.members_after)
    last_saved_member = read(saved.last_member)
    saved_holders = read(saved_judging.holders)
    saved_asked = read(saved_judging.asked)
    begin_saved = write(saved_judging.begin)
    saved_work = read(saved_judging.work)
    saved_unjudged = read(saved_judging.unjudged)
    keep_saved = write_at(saved_judging.keep)
    note_saved_trouble = write(saved_judging.note_trouble)
    take_saved_call = write_at(saved_telling.take)
    saved_call_told = write_at(saved_telling.told)
    saved_call_failed = write_at(saved_telling.not_told)

    feature_set = read(features.find)
    ensure_feature_set = write_at(features.ensure)
    other_feature_sets = read(features.others)
    snapshot_of_set = read(features.snapshot_of_set)
    forget_features = write_at(features.forget_features)

    snapshot = read(queries.snapshot)
    snapshot_of = read(queries.snapshot_of)
    version = read(queries.version)
    generations = read(queries.generations)
    filter_keys = read(filtering.filter_keys)
    filtered = read(filtering.filtered)

    acquire_singleton = write_at(singletons.acquire)
    renew_singleton = write_at(singletons.renew)
    singleton_is_held = read_at(singletons.is_held)
    release_singleton = write(singletons.release)
    probe = write(singletons.probe)
    publish_generation = write_at(builder.publish_generation)
    note_generation = write(builder.note_generation)
    set_index_kind = write(builder.set_index_kind)
    replace_segments = write_at(builder.replace_segments)
    images_in_segment = read(mending.images_in_segment)
    mend_segment = write_at(mending.mend_segment)
    lost_images = read(mending.lost_images)
    bring_back = write_at(mending.bring_back)
    retired_segments = read(builder.retired_segments)
    forget_segments = write(builder.forget_segments)
    segment_files = read(builder.segment_files)
    segment_sha256 = read(builder.segment_sha256)
    generation_files = read(builder.generation_files)

    released_files = read_at(loose.released_files)
    loose_files = read(loose.loose_files)
    observe_files = write_at(loose.observe)
    sweep_files = write_at(loose.sweep_files)
    forget_files = write(loose.forget_loose)

    releasable_blobs = write(releasing.releasable)
    is_referenced = read(releasing.is_referenced)
    holders = read(originals.holders)
    count_holders = read(originals.count_holders)
    forget_blobs = write(releasing.forget)
    unnamed_blobs = read(releasing.unnamed_blobs)
    release_blobs = write_at(releasing.release_blobs)

    installation_id = read(installation.installation_id)
    stamps = write(installation.stamps)
    known_stamps = read(installation.known_stamps)
    stamped = write(installation.stamped)
    adopt_stamps = write(installation.renew)

    create_key = write_at(keys.create)
    known_keys = read_at(keys.known)
    revoke_key = write_at(keys.revoke)
    clear_keys = write(keys.clear)
    note_key_uses = write(keys.note_uses)
    keys = read(keys.every)

    named_segments = read(backups.named_segments)
    fingerprints = read(backups.fingerprints)
    wanted_shas = read(backups.wanted_shas)
    is_unused = read(backups.is_unused)
    count_collections = read(backups.count_collections)

    check = read(health.problems)
    damages = read(integrity.damages)
