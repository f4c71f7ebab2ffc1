"""A model as one request sees it: every call that computes waits for its turn in the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sightline.blip.calibrated import calibration_of, note_of, words_read

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sightline.blip.calibration import Calibration
    from sightline.blip.known_words import WordsRead
    from sightline.blip.latents import Latents
    from sightline.blip.pair_states import PairStates
    from sightline.blip.protocols import RetrievalModel, StagedMatcher
    from sightline.records import Precision
    from sightline.serving.queue import Ticket
    from sightline.types import RGB

Result = TypeVar("Result")
NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Turns(Protocol):
    """Where calls wait for their turn (`sightline.serving.scheduler.Scheduler`)."""

    def turn(self, ticket: Ticket, run: Callable[[], Any], droppable: bool = False) -> Any: ...

    def texts(self, ticket: Ticket, model: RetrievalModel, texts: Sequence[str]) -> Tensor: ...


class SharedModel:
    """An Encoder and Matcher whose work is done by the scheduler's thread, for one request."""

    def __init__(
        self,
        model: RetrievalModel,
        scheduler: Turns,
        ticket: Ticket,
        encoder: RetrievalModel | None = None,
        encoded: Mapping[str, Tensor] = NOTHING,
    ) -> None:
        """``encoder``: the object by which other requests know the same model; ``model`` when not given.
        ``encoded``: vectors ``[D]`` of texts that were encoded before.
        """
        self._model = model
        self._encoder = encoder or model
        self._scheduler = scheduler
        self._ticket = ticket
        self._encoded = encoded

    @property
    def fingerprint(self) -> str:
        """The model's own."""
        return self._model.fingerprint

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        return self._model.num_query_tokens

    @property
    def joint_dim(self) -> int:
        """D."""
        return self._model.joint_dim

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self._model.patch_shape

    @property
    def device(self) -> torch.device:
        """Where results lie."""
        return self._model.device

    @property
    def text_limit(self) -> int:
        """Most text tokens that count."""
        return self._model.text_limit

    @property
    def matches_exactly(self) -> bool:
        """Whether ``fast`` and ``exact`` are the same."""
        return self._model.matches_exactly

    def is_truncated(self, text: str) -> bool:
        """Whether the end of ``text`` is not looked at; needs no turn."""
        return self._model.is_truncated(text)

    @property
    def calibration(self) -> Calibration:
        """That of the model's checkpoint."""
        return calibration_of(self._model)

    @property
    def note(self) -> str | None:
        """What is to be said of the model."""
        return note_of(self._model)

    def words_read(self, text: str) -> WordsRead:
        """Which words the model knows; needs no turn."""
        return words_read(self._model, text)

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pixels ``[B,3,S,S]``, in the request's own thread."""
        return self._model.preprocess(images)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Patches ``[B,P,V]``, in one turn."""
        patches: Tensor = self._scheduler.turn(self._ticket, lambda: self._model.encode_patches(pixels))
        return patches

    def encode_image(self, patches: Tensor) -> Tensor:
        """Tokens ``[B,Q,D]``, in one turn."""
        tokens: Tensor = self._scheduler.turn(self._ticket, lambda: self._model.encode_image(patches))
        return tokens

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors ``[T,D]``, together with the texts of other requests."""
        if texts and all(text in self._encoded for text in texts):
            import torch

            return torch.stack([self._encoded[text] for text in texts])
        return self._scheduler.texts(self._ticket, self._encoder, texts)

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]``, in one turn.

        Raises:
            DeadlineError: the request's time was up before its turn came.
        """
        logits: Tensor = self._scheduler.turn(
            self._ticket, lambda: self._model.match(texts, patches, precision), droppable=True
        )
        return logits


class SharedStages(SharedModel):
    """One that can stop after some of its layers. Each call is a turn, so that others come in between.

    Raises DeadlineError as `match` does.
    """

    def __init__(
        self,
        model: RetrievalModel,
        staged: StagedMatcher,
        scheduler: Turns,
        ticket: Ticket,
        encoder: RetrievalModel | None = None,
        encoded: Mapping[str, Tensor] = NOTHING,
    ) -> None:
        """``staged``: the same model."""
        super().__init__(model, scheduler, ticket, encoder, encoded)
        self._staged = staged

    @property
    def match_layers(self) -> int:
        """How many layers a pair goes through in all; needs no turn."""
        return self._staged.match_layers

    @property
    def match_width(self) -> int:
        """Width of its states; needs no turn."""
        return self._staged.match_width

    def look(self, text: str, patches: Tensor | Latents, layers: int) -> PairStates:
        """Pairs of one text and K images after so many layers."""
        return self._turn(lambda: self._staged.look(text, patches, layers))

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The same pairs after more layers."""
        return self._turn(lambda: self._staged.look_on(states, patches, layers))

    def decide(self, states: PairStates) -> Tensor:
        """Logits ``[K,2]``; in the request's own thread: it is one small product."""
        return self._staged.decide(states)

    def _turn(self, run: Callable[[], Result]) -> Result:
        result: Result = self._scheduler.turn(self._ticket, run, droppable=True)
        return result
