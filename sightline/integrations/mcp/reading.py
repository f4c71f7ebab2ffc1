"""The tools that only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import ImageRejected, InputError, UnavailableError
from sightline.integrations.mcp.answers import (
    AnswersAnswer,
    AskedAnswer,
    CollectionAnswer,
    CollectionsAnswer,
    DescriptionAnswer,
    HitAnswer,
    HitsAnswer,
    OptionAnswer,
    RankAnswer,
    RanksAnswer,
)
from sightline.integrations.mcp.told import Told
from sightline.records import SearchRequest
from sightline.rerank_records import RerankDocument, RerankRequest, StoredImage

if TYPE_CHECKING:
    from sightline.integrations.mcp.arguments import (
        AskArguments,
        DescribeArguments,
        Nothing,
        RerankArguments,
        SearchArguments,
        SimilarArguments,
    )
    from sightline.integrations.mcp.opened import Opened, Picture
    from sightline.records import SearchHit, SearchResponse
    from sightline.searching.asking import AskedImage
    from sightline.store.records import Collection, Image
    from sightline.types import RGB


class Reading:
    """Answers from one installation; thread-safe. Errors are ours, and the server makes sentences of them."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._house = opened.house

    def collections(self, asked: Nothing) -> Told:
        """What there is to be asked."""
        names = {one.name for one in self._opened.collections()}
        overview = [one for one in self._house.catalog.overview() if one.collection.name in names]
        rows = [
            CollectionAnswer(
                name=one.collection.name,
                model=one.collection.model,
                images=one.counts["live"],
                pending=one.counts["pending"],
                fields=self._fields(one.collection),
                can_ask=self._opened.answerer(one.collection) is not None,
                can_describe=self._opened.captioner(one.collection) is not None,
            )
            for one in overview
        ]
        return Told(CollectionsAnswer(collections=rows))

    def search(self, asked: SearchArguments) -> Told:
        """Pictures for a text."""
        collection = self._opened.collection(asked.collection)
        request = SearchRequest(
            collection.name, asked.query, limit=asked.k, min_probability=asked.min_probability,
            filter=asked.filter,
        )  # fmt: skip
        return self._hits(collection, self._house.search.find(request), asked.pictures)

    def similar(self, asked: SimilarArguments) -> Told:
        """Pictures like one."""
        collection = self._opened.collection(asked.collection)
        picture: RerankDocument
        if asked.id is not None:
            picture = StoredImage(collection.name, asked.id)
        else:
            [picture] = self._opened.given([asked.image or ""])
        request = SearchRequest(collection.name, image=picture, limit=asked.k, filter=asked.filter)
        return self._hits(collection, self._house.search.find(request), asked.pictures)

    def rerank(self, asked: RerankArguments) -> Told:
        """Pictures in the order of their match probability."""
        collection = self._opened.collection(asked.collection)
        documents: list[RerankDocument] = [StoredImage(collection.name, one) for one in asked.ids]
        documents += self._opened.given(asked.images)
        request = RerankRequest(asked.query, tuple(documents), asked.top_n, collection.model)
        response = self._house.documents.rerank(request)
        rows = [
            RankAnswer(
                index=one.index,
                id=asked.ids[one.index] if one.index < len(asked.ids) else None,
                match_probability=one.match_probability,
                itm_logit=one.itm_logit,
            )
            for one in response.results
        ]
        remarks = [*response.degraded, *response.notes]
        unknown = list(response.unknown_words)
        return Told(RanksAnswer(model=response.model, results=rows, unknown_words=unknown, remarks=remarks))

    def describe(self, asked: DescribeArguments) -> Told:
        """What is known of one picture, what a captioner writes of it, and the picture."""
        collection = self._opened.collection(asked.collection)
        image = self._live(collection, asked.id)
        rgb, remarks = self._pixels(image)
        named = self._opened.captioner(collection) if asked.write else None
        written = None
        if named is not None and rgb is not None:
            described = self._house.describing.describe([rgb], model=named.model, revision=named.revision)
            written = described[0][0].text
        picture = self._shown(image, rgb, asked.side)
        answer = DescriptionAnswer(
            id=image.image_id, uri=image.uri, caption=image.caption, metadata=dict(image.metadata),
            width=image.width or 0, height=image.height or 0, written=written,
            captioner=None if written is None or named is None else named.model,
            picture=picture is not None, remarks=remarks,
        )  # fmt: skip
        return Told(answer, () if picture is None else (picture,))

    def ask(self, asked: AskArguments) -> Told:
        """A question about pictures."""
        from sightline.captioner.answering import Question  # with torch, which the first answer waits for
        from sightline.searching.asking import AskRequest

        collection = self._opened.collection(asked.collection)
        named = self._opened.answerer(collection)
        if named is None:
            raise InputError(
                f"No model answers questions about {collection.name}; SIGHTLINE_ANSWERER__MODEL names one."
            )
        task = "multiple_choice" if asked.options and asked.task == "short_answer" else asked.task
        request = AskRequest(
            collection.name, Question(asked.question, task, 0, tuple(asked.options)), tuple(asked.ids),
            asked.text, asked.k, asked.filter, named.model, named.revision,
        )  # fmt: skip
        with self._house.asking.ask(request) as found:
            rows = [_asked(one) for one in found.answers]
        return Told(AnswersAnswer(model=found.model, results=rows, remarks=list(found.degraded)))

    # --- the work ---------------------------------------------------------------------------------

    def _fields(self, collection: Collection) -> list[str]:
        """Fields of the metadata of its first pictures."""
        page = self._house.catalog.images(collection.name, None, 20)
        return sorted({name for image in page.items for name in image.metadata})

    def _hits(self, collection: Collection, response: SearchResponse, pictures: int) -> Told:
        found = {hit.rank: self._thumbnail(hit) for hit in response.results[:pictures]}
        remarks = [*response.degraded, *response.notes]
        if response.approximate:
            remarks.append("The index is approximate and may have missed pictures.")
        rows = [_hit(hit, picture=found.get(hit.rank) is not None) for hit in response.results]
        answer = HitsAnswer(
            collection=collection.name, searched=response.images, results=rows,
            unknown_words=list(response.unknown_words), remarks=remarks,
        )  # fmt: skip
        return Told(answer, tuple(picture for picture in found.values() if picture is not None))

    def _thumbnail(self, hit: SearchHit) -> Picture | None:
        return self._opened.thumbnail(hit.sha256, f"Rank {hit.rank}: {hit.id}")

    def _live(self, collection: Collection, image_id: str) -> Image:
        image = self._house.catalog.image(collection.name, image_id)
        if image.state != "live":
            raise UnavailableError(
                f"Image {image_id} of {collection.name} is not indexed yet ({image.state})."
            )
        return image

    def _pixels(self, image: Image) -> tuple[RGB | None, list[str]]:
        """The whole picture, or why it cannot be had."""
        try:
            return self._house.decoder.decode(self._house.originals.read(image)).rgb, []
        except ImageRejected as error:
            return None, [f"The original of {image.image_id} cannot be read: {error.detail}"]

    def _shown(self, image: Image, rgb: RGB | None, side: int) -> Picture | None:
        from PIL.Image import fromarray

        from sightline.imaging.decoding import make_thumbnail
        from sightline.integrations.mcp.opened import Picture

        if side == 0:
            return None
        if rgb is None:
            return self._opened.thumbnail(image.sha256, image.image_id)
        return Picture(image.image_id, make_thumbnail(fromarray(rgb), side))


def _hit(hit: SearchHit, *, picture: bool) -> HitAnswer:
    return HitAnswer(
        rank=hit.rank, id=hit.id, uri=hit.uri, match_probability=hit.match_probability, itc=hit.itc,
        similarity=hit.similarity, caption=hit.caption, metadata=dict(hit.metadata), width=hit.width,
        height=hit.height, picture=picture,
    )  # fmt: skip


def _asked(one: AskedImage) -> AskedAnswer:
    reply = one.reply
    return AskedAnswer(
        id=one.image.image_id, answer=reply.answer, probability=reply.probability,
        options=[OptionAnswer(text=each.text, probability=each.probability) for each in reply.options],
        match_probability=one.match_probability, problem=reply.problem,
    )  # fmt: skip
