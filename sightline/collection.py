"""One collection as an object: index, search, delete, in a few lines and without a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.collection_folder import CollectionFolder, Source, ids_of, paths_of, words_of
from sightline.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image as Picture

    from sightline.hits import Hits
    from sightline.index_run import Indexed
    from sightline.queries import Query
    from sightline.records import SearchRequest
    from sightline.rerank_records import InlineImage, StoredImage
    from sightline.reranker.forms import ImageInput
    from sightline.store.records import Image
    from sightline.store.trash_records import Restored

Filter = Mapping[str, Any]
"""``{"must": […], "should": […], "must_not": […]}`` of conditions: see docs/http.md."""
PAGE = 1000
FRAMES = "frames"
"""The folder, in the data folder, of the manifests that DataFrames became."""


class Collection(CollectionFolder):
    """A named set of pictures in a data folder. A context manager; opens its folder at the first use.

    Everything that reads raises NotFoundError when there is no such collection, and makes none.
    """

    # --- writing ----------------------------------------------------------------------------------

    def index(
        self,
        source: Source | Sequence[Source] | DataFrame | Any,
        *,
        copy: bool = False,
        prune: bool = False,
        prune_limit: str | None = None,
        id_prefix: str = "",
    ) -> Indexed:
        """A folder, file, glob, archive, manifest, several of these, or a DataFrame, until it is searchable.

        Running workers embed it, else this process. ``copy`` keeps copies of the originals. ``prune`` moves
        what each source no longer has to the trash, as far as ``prune_limit`` (``N`` or ``N%``) lets it.
        A frame names pictures in a column ``path``, ``uri`` or ``image`` (which may hold bytes); ``id``,
        ``caption`` and ``captions`` are understood, and all others become metadata.

        Raises:
            SourceError: nothing could be listed.
            InputError: a frame that names no pictures, or a name that no collection may have.
            ModelMismatchError: the collection is bound to another model than that of this object.
            ModelUnavailableError: the model's files cannot be reached.
        """
        from sightline.frames import is_frame, read_frame, written
        from sightline.indexer.plan import Plan

        if not is_frame(source):
            plan = Plan(paths_of(source), copy, prune, prune_limit, id_prefix)
            return self._work.index(plan, self.name, self._model)
        rows = read_frame(source)
        if rows.uploads and prune:
            raise InputError("A table that holds the bytes of its pictures is no source that is pruned by.")
        done = self._work.add(rows.uploads, self.name, self._model, id_prefix)
        if rows.lines:
            with written(rows.lines, self._frame_path()) as path:
                plan = Plan((path,), copy, prune, prune_limit, id_prefix)
                done += self._work.index(plan, self.name, self._model)
        return done

    def add(self, frame: DataFrame | Any) -> Indexed:
        """The rows of a DataFrame; `index` says more."""
        from sightline.frames import is_frame

        if not is_frame(frame):
            raise InputError("Give a DataFrame; files and folders are for index.")
        return self.index(frame)

    def delete(self, ids: str | Sequence[str] | None = None, *, filter: Filter | None = None) -> int:
        """Move images to the trash, by id, by a filter, or what fits both; how many these were.

        Raises:
            InputError: neither was said. FilterError: a filter that cannot be understood.
        """
        from sightline.store.filters import parse_filter

        wanted = None if filter is None else parse_filter(filter)
        with self._reading() as house:
            number = house.catalog.collection(self.name).id
            return house.catalog.delete_images(number, ids_of(ids), wanted)

    def restore(self, ids: str | Sequence[str] | None = None) -> Restored:
        """Bring images back from the trash, all when no ids are given: what came back, and what did not."""
        with self._reading() as house:
            return house.catalog.restore_images(house.catalog.collection(self.name).id, ids_of(ids))

    # --- searching --------------------------------------------------------------------------------

    def search(
        self,
        text: str | Query = "",
        *,
        image: ImageInput | None = None,
        k: int = 10,
        offset: int = 0,
        filter: Filter | None = None,
        candidates: int = 100,
        rerank: bool = True,
        min_probability: float | None = None,
        sort: str | None = None,
        exact: bool = False,
    ) -> Hits:
        """The best ``k`` pictures for a text, a `sightline.queries.Query`, a picture, or a picture and words.

        What the arguments mean, and what else can be asked for with `find`, says `sightline.SearchRequest`.
        Raises as `sightline.Search.find`.
        """
        from sightline.records import SearchRequest

        words, query = words_of(text)
        request = SearchRequest(
            self.name, words, k, offset, candidates, rerank, filter=filter, min_probability=min_probability,
            sort=sort, exact=exact, query=query, image=None if image is None else self._inline(image),
        )  # fmt: skip
        return self.find(request)

    def find(self, request: SearchRequest) -> Hits:
        """Whatever a search can be asked; the request's collection is this one."""
        from sightline.hits import Hits

        with self._reading() as house:
            return Hits(house.search.find(replace(request, collection=self.name)))

    def search_batch(
        self,
        texts: Sequence[str | Query],
        *,
        k: int = 10,
        filter: Filter | None = None,
        candidates: int = 100,
        rerank: bool = True,
        min_probability: float | None = None,
    ) -> list[Hits]:
        """As `search` for each text, in order. The texts are encoded together, which is what it saves.

        Raises as `sightline.Search.find`, at the first text that cannot be answered.
        """
        from sightline.hits import Hits
        from sightline.records import SearchRequest

        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise InputError("Give a list of texts; a single one is for search.")
        requests = [
            SearchRequest(
                self.name, words, k, candidates=candidates, rerank=rerank, filter=filter,
                min_probability=min_probability, query=query,
            )
            for words, query in map(words_of, texts)
        ]  # fmt: skip
        with self._reading() as house:
            return [Hits(response) for response in house.search.find_many(requests)]

    def similar(
        self,
        image: ImageInput | None = None,
        *,
        id: str | None = None,
        k: int = 10,
        filter: Filter | None = None,
    ) -> Hits:
        """Pictures like one: a path, bytes, a PIL image, RGB pixels, or by ``id`` an image of the collection.

        Raises:
            InputError: not exactly one picture. Else as `sightline.Search.find`.
        """
        from sightline.records import SearchRequest
        from sightline.rerank_records import StoredImage

        if (image is None) == (id is None):
            raise InputError("Name one picture: a file, its bytes or pixels, or the id of an image.")
        asked: InlineImage | StoredImage
        asked = StoredImage(self.name, id) if id is not None else self._inline(image)
        return self.find(SearchRequest(self.name, image=asked, limit=k, filter=filter))

    # --- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many images can be found."""
        with self._reading() as house:
            return house.catalog.collection_counts(self.name)["live"]

    def __bool__(self) -> bool:
        """Always: an empty collection is one, too."""
        return True

    def __iter__(self) -> Iterator[Image]:
        return self.images()

    def get(self, id: str) -> Image:
        """One image with its ``image_id``, ``uri``, ``caption``, ``metadata``, ``width`` and ``height``."""
        with self._reading() as house:
            return house.catalog.image(self.name, id)

    def images(self, filter: Filter | None = None) -> Iterator[Image]:
        """Images that can be found, oldest first, read page by page. FilterError."""
        from sightline.store.filters import parse_filter

        wanted = None if filter is None else parse_filter(filter)
        cursor: str | None = None
        while True:
            with self._reading() as house:
                page = house.catalog.images(self.name, cursor, PAGE, wanted)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def to_frame(self, filter: Filter | None = None) -> DataFrame:
        """A row for each image: id, uri, caption, and a column for each field of the metadata.

        Raises:
            InputError: pandas is not installed.
        """
        from sightline.frames import frame_of

        rows = (
            ({"id": one.image_id, "uri": one.uri, "caption": one.caption}, one.metadata)
            for one in self.images(filter)
        )
        return frame_of(rows, ("id", "uri", "caption"))

    def read(self, id: str) -> bytes:
        """The original's bytes. ImageRejected: they cannot be read, or are not those that were indexed."""
        with self._reading() as house:
            return house.originals.read(house.catalog.image(self.name, id))

    def open(self, id: str) -> Picture:
        """The picture, upright and in sRGB. ImageRejected as `read`."""
        from PIL.Image import fromarray

        return fromarray(self.installation.decoder.decode(self.read(id)).rgb)

    def thumbnail(self, id: str) -> Picture:
        """A small picture. NotFoundError: it has none (yet)."""
        from PIL.Image import open as open_picture

        with self._reading() as house:
            image = open_picture(
                BytesIO(house.blobs.get_thumbnail(house.catalog.image(self.name, id).sha256))
            )
        image.load()
        return image

    # --- the work ---------------------------------------------------------------------------------

    def _frame_path(self) -> Path:
        from sightline.store.values import check_collection_name

        check_collection_name(self.name)
        return self._settings.data_folder / FRAMES / f"{self.name}.jsonl"

    def _inline(self, image: ImageInput | None) -> InlineImage:
        from sightline.rerank_records import InlineImage
        from sightline.reranker.inputs import read_rgb

        assert image is not None
        return InlineImage(read_rgb(image, self._settings.imaging))
