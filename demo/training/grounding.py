"""Dense labels for ITM: what each noun of a text should find in the picture.

One bit per pair teaches binding slowly: it does not say which word was wrong. So every noun is asked, while
the pair is judged, whether its kind is there, whether it is there in the colour said, and if so where, how
big and how many. The heads are thrown away.

Shapes: B pictures · K pairs · L text tokens · H width · N nouns in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.world.scene import Scene
from demo.world.sentences import plural
from demo.world.things import COLOURS, KINDS, SIZES
from sightline.blip.tokenizer import TextTokenizer

MOST = 3


@dataclass(frozen=True)
class Facts:
    """What B scenes show, by kind and colour."""

    count: Tensor  # [B,kinds,colours]
    place: Tensor  # [B,kinds,colours,2], centre of the last such thing
    size: Tensor  # [B,kinds,colours]

    @staticmethod
    def of(scenes: Sequence[Scene]) -> Facts:
        """Read off the scenes."""
        shape = (len(scenes), len(KINDS), len(COLOURS))
        facts = Facts(
            torch.zeros(shape, dtype=torch.int64),
            torch.zeros(*shape, 2),
            torch.zeros(shape, dtype=torch.int64),
        )
        for row, scene in enumerate(scenes):
            for thing in scene.things:
                at = (row, KINDS.index(thing.kind), COLOURS.index(thing.colour))
                facts.count[at] += 1
                facts.place[at] = torch.tensor([thing.x, thing.y])
                facts.size[at] = SIZES.index(thing.size)
        return facts


class Nouns:
    """Which word pieces name a kind or a colour."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.kind = torch.full((tokenizer.size,), -1)
        self.colour = torch.full((tokenizer.size,), -1)
        for index, kind in enumerate(KINDS):
            for form in (kind, plural(kind)):
                self._note(self.kind, tokenizer, form, index)
        for index, colour in enumerate(COLOURS):
            self._note(self.colour, tokenizer, colour, index)

    @staticmethod
    def _note(table: Tensor, tokenizer: TextTokenizer, word: str, index: int) -> None:
        ids = tokenizer.ids(word)
        if len(ids) == 3:  # [CLS] word [SEP]; words in several pieces are left out
            table[ids[1]] = index


class GroundingHeads(nn.Module):
    """One linear head for all questions to a noun."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.answers = nn.Linear(width, 2 + 2 + len(SIZES) + MOST)

    def forward(
        self, hidden_KLH: Tensor, ids_KL: Tensor, pictures_K: Tensor, facts: Facts, nouns: Nouns
    ) -> Tensor:
        """Loss over all nouns of the texts; ``pictures_K`` are rows of ``facts``."""
        kind_KL = nouns.kind[ids_KL]
        row, at = torch.nonzero(kind_KL >= 0, as_tuple=True)
        answers = self.answers(hidden_KLH[row, at])  # [N,2+2+3+3]
        kind, picture = kind_KL[row, at], pictures_K[row]
        there = (facts.count[picture, kind].sum(dim=1) > 0).float()
        loss = F.binary_cross_entropy_with_logits(answers[:, 0], there)
        colour = nouns.colour[ids_KL[row, at - 1]]  # the word before; [CLS] is no colour
        said = colour >= 0
        count = facts.count[picture, kind, colour.clamp(min=0)]
        loss = loss + 2 * F.binary_cross_entropy_with_logits(answers[said, 1], (count[said] > 0).float())
        found = said & (count > 0)
        if bool(found.any()):
            loss = loss + self._details(answers[found], facts, picture[found], kind[found], colour[found])
        return loss

    def _details(
        self, answers: Tensor, facts: Facts, picture: Tensor, kind: Tensor, colour: Tensor
    ) -> Tensor:
        place = F.mse_loss(answers[:, 2:4], facts.place[picture, kind, colour]) * 8
        size = F.cross_entropy(answers[:, 4 : 4 + len(SIZES)], facts.size[picture, kind, colour])
        many = facts.count[picture, kind, colour].clamp(max=MOST) - 1
        return place + 0.3 * size + 0.3 * F.cross_entropy(answers[:, 4 + len(SIZES) :], many)
