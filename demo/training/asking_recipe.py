"""Every number of the making of the demo's language side in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from demo.world.questions import Topic


@dataclass(frozen=True)
class LanguageStage:
    """Stage 4: a language model learns the world's sentences, and to answer questions about what it read."""

    steps: int = 240
    batch_size: int = 64
    part: int = 32
    """Texts that go through the model together; a step adds up the gradients of its parts."""
    lr: float = 3e-3
    weight_decay: float = 0.02
    vocab_size: int = 1500
    hidden_size: int = 256
    layers: int = 3
    heads: int = 4
    ffn_dim: int = 1024
    positions: int = 192
    """Longest sequence, query tokens included."""
    evidence: float = 0.9
    """How often the sentence that gives the answer away is among what is read."""
    blind: float = 0.1
    """How often nothing is read before the question: the model learns what can be guessed."""


TOPICS: dict[Topic, float] = {"colour": 2.0, "count": 2.0, "there": 2.0, "position": 3.0, "match": 3.0}
HARD_TOPICS: dict[Topic, float] = {
    "colour": 1.0,
    "count": 3.5,
    "there": 1.0,
    "position": 4.0,
    "match": 3.0,
}
TASKS: dict[str, float] = {"question": 10.0, "caption": 3.0, "describe": 0.7, "read": 0.2}


@dataclass(frozen=True)
class AskingStage:
    """Stage 5: Q-Former and projection learn to tell the frozen language model what it is asked for."""

    steps: int = 550
    questions: int = 48
    captions: int = 16
    """Pictures a step that are asked a question, and that are described."""
    part: int = 24
    caption_weight: float = 0.5
    lr: float = 1.2e-3
    weight_decay: float = 0.02
    queries: int = 16
    """Query tokens: the first of the retrieval model's."""
    text_limit: int = 44
    plain: float = 0.75
    """How many questions come without a frame until step ``frames_from``, which makes steps shorter."""
    frames_from: int = 300
    plain_later: float = 0.3
    hard_from: int = 200
    """From this step on ``hard_topics`` and ``hard_numbers`` are asked: the rest is known by then."""
    hard_topics: dict[Topic, float] = field(default_factory=lambda: dict(HARD_TOPICS))
    hard_numbers: tuple[float, ...] = (1.0, 1.0, 5.0, 7.0)
    captions_from: int = 250
    """From this step on these are the numbers of pictures, and captions weigh more: they are learned last."""
    late_questions: int = 32
    late_captions: int = 32
    late_caption_weight: float = 2.0
    repeated: float = 0.0
    """Share of questions whose picture is drawn from those that show a kind more than once."""
    order_from: int = 300
    """From this step on captions name things from left to right in one wording. Drawn at random, order and
    wording are most of a caption's loss, and drown what the picture decides."""


SETTLING = AskingStage(
    steps=450,
    lr=8e-4,
    plain_later=0.3,
    frames_from=0,
    hard_from=0,
    hard_topics={"colour": 1.5, "count": 4.0, "there": 1.0, "position": 2.0, "match": 4.0},
    hard_numbers=(2.0, 1.5, 4.0, 6.0),
    captions_from=0,
    late_questions=40,
    order_from=0,
)
"""Stage 6: what the stage before leaves short: numbers, whole sentences, captions."""
REFINING = replace(
    SETTLING,
    hard_topics={"colour": 1.0, "count": 5.0, "there": 1.0, "position": 1.5, "match": 3.0},
    hard_numbers=(2.0, 2.0, 4.0, 6.0),
    repeated=0.5,
)
"""Stage 7: two and three, which few pictures show, and captions."""
COUNTING = replace(
    REFINING,
    steps=200,
    hard_topics={"colour": 0.5, "count": 6.0, "there": 0.5, "position": 1.0, "match": 1.5},
    hard_numbers=(1.0, 1.5, 3.0, 9.0),
    repeated=0.8,
    late_questions=48,
    late_captions=20,
)
"""Stage 8: three of a kind in several colours, which were taken for two."""


@dataclass(frozen=True)
class AskingRecipe:
    """The whole run."""

    seed: int = 11
    topics: dict[Topic, float] = field(default_factory=lambda: dict(TOPICS))
    tasks: dict[str, float] = field(default_factory=lambda: dict(TASKS))
    language: LanguageStage = field(default_factory=LanguageStage)
    asking: AskingStage = field(default_factory=AskingStage)
    settling: AskingStage = SETTLING
    refining: AskingStage = REFINING
    counting: AskingStage = COUNTING
    families: int = 3000
    random_scenes: int = 8000
    world_seed: int = 7
    """As in the retrieval model's recipe, whose pictures these are."""
