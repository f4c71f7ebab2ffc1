"""Every number of the making of the demo's language side in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from demo.world.questions import Topic


@dataclass(frozen=True)
class LanguageStage:
    """Stage 4: a language model learns the world's sentences, and to answer questions about what it read."""

    steps: int = 600
    batch_size: int = 64
    part: int = 32
    """Texts that go through the model together; a step adds up the gradients of its parts."""
    lr: float = 3e-3
    weight_decay: float = 0.02
    vocab_size: int = 1200
    hidden_size: int = 256
    layers: int = 4
    heads: int = 4
    ffn_dim: int = 1024
    positions: int = 192
    """Longest sequence, query tokens included."""
    evidence: float = 0.9
    """How often the sentence that gives the answer away is among what is read."""
    blind: float = 0.1
    """How often nothing is read before the question: the model learns what can be guessed."""


TOPICS: dict[Topic, float] = {"colour": 2.0, "count": 2.0, "there": 2.0, "position": 3.0, "match": 3.0}
TASKS: dict[str, float] = {"question": 10.0, "caption": 3.0, "describe": 0.7, "read": 0.2}


@dataclass(frozen=True)
class AskingRecipe:
    """The whole run."""

    seed: int = 11
    topics: dict[Topic, float] = field(default_factory=lambda: dict(TOPICS))
    tasks: dict[str, float] = field(default_factory=lambda: dict(TASKS))
    language: LanguageStage = field(default_factory=LanguageStage)
