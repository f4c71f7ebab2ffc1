"""The calls of a reranker that take pictures, and their twins for asyncio."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from sightline.blip.calibrated import calibration_of, words_read
from sightline.errors import InputError
from sightline.reranker.documents import Pair, checked_pairs, length_of, looked_up
from sightline.reranker.encoded import EncodedImages
from sightline.reranker.forms import Errors, ImageInput
from sightline.reranker.inputs import checked_count, checked_errors, checked_flag
from sightline.reranker.judging import checked_score, checked_text
from sightline.reranker.pictures import Activation, Pictures, activated
from sightline.reranker.progress import Tick, counting, in_thread
from sightline.reranker.records import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sightline.blip.calibration import Calibration
    from sightline.blip.protocols import Encoder, Matcher
    from sightline.imaging import Limits
    from sightline.records import ScoreName


class PictureCalls:
    """Judges pictures with ``matcher``, and with ``encoder`` where scores with ITC are wanted."""

    def __init__(
        self,
        matcher: Matcher,
        encoder: Encoder | None,
        batch_size: int,
        limits: Limits | None,
        calibration: Calibration | None,
    ) -> None:
        self._matcher = matcher
        self._encoder = encoder
        self._batch_size = checked_count("batch_size", batch_size, 1)
        self._limits = limits
        self._calibration = calibration

    def rank(
        self,
        query: str,
        documents: Iterable[ImageInput] | EncodedImages,
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        score: ScoreName | None = None,
        errors: Errors = "raise",
    ) -> Ranking:
        """Order pictures by how well they match ``query``; the best ``top_k``, or all. Ties: by index.

        Pictures are in any form of `ImageInput`, or come from `encode`. They are read batch by batch; with
        ``top_k``, no more of a generator is held than some batches and the best. ``return_documents`` puts
        what was passed in into `RankedImage.document`; what cannot be looked up by its index, as in a
        generator, always comes back. ``score`` None is ``itm+itc`` where there is an encoder, ``itm`` where
        there is none; then ``itc`` is None in every result.

        `InputError` for an empty text, no images, a URL, a wrong type, a score that needs an encoder, or
        images that another model encoded; `ImageRejected` naming the picture that cannot be decoded. With
        ``errors="skip"`` what is wrong with one picture ends nothing: `Ranking.skipped` has it.
        """
        query, name = checked_text(query), self._possible_score(score)
        top_k = None if top_k is None else checked_count("top_k", top_k, 1)
        back = checked_flag("return_documents", return_documents) or not looked_up(documents)
        calibration = self._calibration_for(query)
        with counting("Images", length_of(documents), bool(show_progress_bar)) as tick:
            pictures = self._pictures(batch_size, errors, tick)
            return pictures.ranked(query, documents, name, top_k, calibration, back)

    @overload
    def predict(
        self,
        pairs: Iterable[Pair],
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        activation_fn: Activation | None = ...,
        *,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[True],
        errors: Errors = ...,
    ) -> Tensor: ...
    @overload
    def predict(
        self,
        pairs: tuple[str, ImageInput],
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        activation_fn: Activation | None = ...,
        *,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[False] = ...,
        errors: Errors = ...,
    ) -> np.float32: ...
    @overload
    def predict(
        self,
        pairs: Iterable[Pair],
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        activation_fn: Activation | None = ...,
        *,
        convert_to_numpy: bool = ...,
        convert_to_tensor: Literal[False] = ...,
        errors: Errors = ...,
    ) -> NDArray[np.float32]: ...

    def predict(
        self,
        pairs: Iterable[Pair] | Pair,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        activation_fn: Activation | None = None,
        *,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        errors: Errors = "raise",
    ) -> NDArray[np.float32] | np.float32 | Tensor:
        """Match probability ``[N]`` of each (text, image) pair, in the order given; of one pair, a number.

        Pairs with one text go through the model together; a picture that occurs in several pairs is encoded
        once. ``activation_fn`` makes something else of log-odds ``[N]`` than a sigmoid does.
        ``convert_to_tensor``: a tensor, float32 on the CPU; it goes before ``convert_to_numpy``. Errors as in
        `rank`; with ``errors="skip"`` a pair whose picture is unusable gets NaN, and a warning is logged.
        """
        if not (convert_to_numpy or convert_to_tensor):
            raise InputError("Predictions are an array or a tensor; for the second, set convert_to_tensor.")
        listed, single = checked_pairs(pairs)
        with counting("Pairs", len(listed), bool(show_progress_bar)) as tick:
            pictures = self._pictures(batch_size, errors, tick)
            found = activated(pictures.predicted(listed, self._calibration_for), activation_fn)
        predicted = found[0] if single else found
        return predicted if convert_to_tensor else predicted.numpy()[()]

    def encode(
        self,
        images: Iterable[ImageInput],
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        errors: Errors = "raise",
    ) -> EncodedImages:
        """See pictures once, for `rank` with several texts: patches and query tokens, kept on the CPU.

        Errors as in `rank`.
        """
        with counting("Images", length_of(images), bool(show_progress_bar)) as tick:
            return self._pictures(batch_size, errors, tick).encoded(images)

    async def arank(
        self,
        query: str,
        documents: Iterable[ImageInput] | EncodedImages,
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        score: ScoreName | None = None,
        errors: Errors = "raise",
    ) -> Ranking:
        """As `rank`, in a thread; when it is cancelled, that ends after the batch in hand."""
        call = partial(self.rank, query, documents, top_k, return_documents, batch_size, show_progress_bar)
        return await in_thread(partial(call, score=score, errors=errors))

    async def apredict(
        self,
        pairs: Iterable[Pair],
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        activation_fn: Activation | None = None,
        *,
        errors: Errors = "raise",
    ) -> NDArray[np.float32]:
        """As `predict` of a list of pairs, in a thread, and cancelled as `arank` is."""
        return await in_thread(
            lambda: self.predict(
                list(pairs),
                batch_size,
                show_progress_bar,
                activation_fn,
                convert_to_tensor=False,
                errors=errors,
            )
        )

    async def aencode(
        self,
        images: Iterable[ImageInput],
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        *,
        errors: Errors = "raise",
    ) -> EncodedImages:
        """As `encode`, in a thread, and cancelled as `arank` is."""
        return await in_thread(partial(self.encode, images, batch_size, show_progress_bar, errors=errors))

    def _calibration_for(self, text: str) -> Calibration:
        """For the pairs of one text: with words that the matcher does not know, they match less likely."""
        if self._calibration is not None:
            return self._calibration
        return calibration_of(self._matcher).for_query(unknown=bool(words_read(self._matcher, text).unknown))

    def _possible_score(self, score: ScoreName | None) -> ScoreName:
        if score is None:
            return "itm" if self._encoder is None else "itm+itc"
        if self._encoder is None and checked_score(score) != "itm":
            raise InputError(f"This reranker has no encoder, which the score {score} needs; choose itm.")
        return checked_score(score)

    def _pictures(self, batch_size: int | None, errors: Errors, tick: Tick) -> Pictures:
        size = self._batch_size if batch_size is None else checked_count("batch_size", batch_size, 1)
        errors = checked_errors(errors)
        return Pictures(self._matcher, self._encoder, self._limits, size, errors, tick)
