"""``/v1/collections/{name}/images``: uploads, records, and the bytes of pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import ValidationError

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import (
    AccessHere,
    ImageIdHere,
    MetricsHere,
    Name,
    PartsHere,
    Purge,
    Root,
    SettingsHere,
    live_image,
    problems,
)
from sightline.api.discretion import refuse_hidden_fields
from sightline.api.files import HEAD, cache_headers, is_known, open_original, shown_as
from sightline.api.problems import Problem, invalid, place_of
from sightline.api.routes.jobs import answer_of
from sightline.api.schemas.common import MAX_CURSOR
from sightline.api.schemas.images import (
    ImageAnswer,
    ImageChange,
    ImageList,
    UploadAnswer,
    UploadItem,
    UploadItems,
    UploadLineAnswer,
    image_answer,
)
from sightline.api.sending import FileAnswer, FileThreads
from sightline.api.urls import job_url
from sightline.errors import CorruptionError, InputError, NotFoundError, NotJsonError
from sightline.indexer.uploads import Upload
from sightline.store.filters import parse_filter, read_filter
from sightline.store.json_text import read_json
from sightline.store.records import UNSET

router = APIRouter(prefix="/v1/collections/{name}/images", tags=["images"], route_class=ScopedRoute)
ITEMS = (
    'JSON aligned with the files: [{"id": "a.jpg", "caption": "…", "metadata": {…}}, {}], fields optional.'
)


@router.post("", status_code=202, responses=problems(404, 413, 422, 507), openapi_extra=needs("write"))
def upload_images(
    name: Name,
    parts: PartsHere,
    settings: SettingsHere,
    metrics: MetricsHere,
    root: Root,
    request: Request,
    response: Response,
    files: Annotated[list[UploadFile], File(description="One or many pictures.")],
    items: Annotated[str | None, Form(description=ITEMS)] = None,
) -> UploadAnswer:
    """Add pictures: copied, registered, embedded by a worker. Answers with a job and one line per file."""
    if len(files) > settings.max_upload_files:
        raise Problem(413, f"One upload may bring at most {settings.max_upload_files:,} files.")
    told = parse_items(items, len(files))
    for index, item in enumerate(told):
        try:
            parts.indexer.check_told(item.id or files[index].filename or "", item.caption, item.metadata)
        except InputError as error:
            raise invalid(f"/items/{index}", str(error)) from error
    uploads = [
        Upload(image_id=item.id, caption=item.caption, metadata=item.metadata, file=file.file)
        for file, item in zip(files, told, strict=True)
    ]
    job, lines = parts.indexer.add(name, uploads)
    request.scope["job_id"] = job.id
    response.headers["Location"] = job_url(job.id, root)
    metrics.upload_bytes.inc(sum(upload.size() for upload in uploads))
    for line in lines:
        metrics.uploaded.labels(line.status).inc()
    answers = [
        UploadLineAnswer.of(line, filename=file.filename or None)
        for line, file in zip(lines, files, strict=True)
    ]
    return UploadAnswer(job=answer_of(parts, job.id, root), files=answers)


@router.get("", responses=problems(404, 422), openapi_extra=needs("read"))
def list_images(
    name: Name,
    parts: PartsHere,
    settings: SettingsHere,
    root: Root,
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    filter: Annotated[str | None, Query(max_length=20_000, description="A filter, as JSON.")] = None,
) -> ImageList:
    """Live images, oldest first, page by page. One with much metadata ends before ``limit``."""
    condition = read_filter(filter) if filter is not None and filter.strip() else None
    wanted = None if condition is None else parse_filter(condition)
    refuse_hidden_fields(condition)
    page = parts.catalog.images(name, cursor, limit, wanted, most_bytes=settings.max_answer_bytes)
    return ImageList(
        items=[image_answer(item, name, root) for item in page.items], next_cursor=page.next_cursor
    )


@router.get("/{image_id}", responses=problems(404), openapi_extra=needs("read"))
def get_image(name: Name, image_id: ImageIdHere, parts: PartsHere, root: Root) -> ImageAnswer:
    """One image."""
    return image_answer(live_image(parts, name, image_id), name, root)


@router.patch("/{image_id}", responses=problems(404, 422), openapi_extra=needs("write"))
def change_image(
    name: Name, image_id: ImageIdHere, body: ImageChange, parts: PartsHere, root: Root
) -> ImageAnswer:
    """Change caption and/or metadata: at once, without the model."""
    given = body.model_fields_set
    parts.indexer.check_told(image_id, body.caption, body.metadata)
    image = parts.catalog.update_image(
        name,
        image_id,
        caption=body.caption if "caption" in given else UNSET,
        metadata=body.metadata if "metadata" in given else UNSET,
    )
    return image_answer(image, name, root)


@router.delete(
    "/{image_id}", status_code=204, responses=problems(403, 404, 409, 503), openapi_extra=needs("write")
)
def delete_image(name: Name, image_id: ImageIdHere, parts: PartsHere, purge: Purge) -> None:
    """Move one image to the trash, or purge it: no search that begins after this finds it."""
    if purge:
        count = len(parts.purging.images(name, [image_id]))
    else:
        count = parts.catalog.delete_images(parts.catalog.collection(name).id, ids=[image_id])
    if count == 0:
        raise NotFoundError(f"There is no image {image_id!r} in collection {name!r}.")


PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {}}},
    304: {"description": "Unchanged"},
}
FILE: dict[int | str, dict[str, Any]] = PICTURE | {206: {"description": "The range that was asked for"}}


@router.head("/{image_id}/file", include_in_schema=False, openapi_extra=needs("read"))
@router.get(
    "/{image_id}/file",
    response_class=Response,
    responses=FILE | problems(404, 410),
    openapi_extra=needs("read"),
)
async def get_file(
    name: Name, image_id: ImageIdHere, parts: PartsHere, access: AccessHere, request: Request
) -> Response:
    """The original's bytes, or a range of them. Immutable under ``?v=``; 410 when they changed."""
    opening: FileThreads = request.app.state.opening_threads
    threads: FileThreads = request.app.state.file_threads

    def found() -> Response:
        image = live_image(parts, name, image_id)
        etag = f'"{image.sha256}"'
        headers = cache_headers(request, etag, image.sha256, access.controlled)
        if is_known(request, etag):
            return Response(status_code=304, headers=headers)
        original = open_original(image, parts.originals)
        return FileAnswer(original, headers | shown_as(original.read(0, HEAD), image_id), threads)

    return await opening.run(found)


@router.head("/{image_id}/thumbnail", include_in_schema=False, openapi_extra=needs("read"))
@router.get(
    "/{image_id}/thumbnail",
    response_class=Response,
    responses=PICTURE | problems(404),
    openapi_extra=needs("read"),
)
async def get_thumbnail(
    name: Name, image_id: ImageIdHere, parts: PartsHere, access: AccessHere, request: Request
) -> Response:
    """A small WebP."""
    threads: FileThreads = request.app.state.thumbnail_threads

    def found() -> Response:
        image = live_image(parts, name, image_id)
        etag = f'"{image.sha256}-thumbnail"'
        headers = cache_headers(request, etag, image.sha256, access.controlled)
        if is_known(request, etag):
            return Response(status_code=304, headers=headers)
        try:
            data = parts.blobs.get_thumbnail(image.sha256)
        except (OSError, NotFoundError, CorruptionError) as error:
            raise NotFoundError(f"There is no thumbnail of {image_id!r} (yet).") from error
        return Response(data, headers=headers, media_type="image/webp")

    return await threads.run(found)


def parse_items(text: str | None, files: int) -> list[UploadItem]:
    """The form field ``items``, one for each file; 422 with pointers when it does not fit."""
    if text is None or not text.strip():
        return [UploadItem(id=None)] * files
    try:
        given = read_json(text)
        if isinstance(given, list) and len(given) != files:
            raise invalid("/items", f"The field 'items' describes {len(given)} files, but {files} were sent.")
        told = UploadItems.validate_python(given)
    except NotJsonError as wrong:
        raise invalid("/items", f"The field 'items' is not valid JSON: {wrong}") from wrong
    except ValidationError as error:
        place, detail = place_of(error.errors(include_url=False, include_input=False)[0])
        raise invalid(f"/items{place}", f"{place or 'items'}: {detail.removesuffix('.')}.") from error
    ids = [item.id for item in told if item.id is not None]
    if len(set(ids)) != len(ids):
        raise invalid("/items", "Two files of this upload have the same id.")
    return told
