"""Stage 5: captions and instructions through Q-Former and projection into the frozen language model.

Image encoder and Q-Former are the retrieval model's; the image encoder stays as it is, to the last bit, so
that patches of one model serve the other. Shapes: N pictures · P patches · V vision width · B rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from demo.training.asking_recipe import AskingRecipe, AskingStage
from demo.training.half import has_fast_bfloat16, multiply_in_full, multiply_in_half
from demo.training.language import END, IMAGE, PAD, id_of
from demo.training.optimiser import build_optimisers, load_state, save_state, set_rate
from demo.training.together import add_gradients, is_first, share
from demo.world.instructions import Instruction, instruct
from demo.world.questions import NUMBERS, Topic
from demo.world.scene import Scene
from sightline.blip.checkpoint import read_config_json
from sightline.blip.language_tokenizer import LanguageTokenizer
from sightline.blip.tokenizer import TextTokenizer
from sightline.training.answer_batches import Packer
from sightline.training.answering import AnswerBatch, AnswerLearner

if TYPE_CHECKING:
    from transformers import InstructBlipForConditionalGeneration, OPTForCausalLM

log = logging.getLogger(__name__)


def packer(tokenizer: Tokenizer, qformer: TextTokenizer, stage: AskingStage) -> Packer:
    """OPT's order: placeholders, ``</s>``, instruction, answer, ``</s>``."""
    return Packer(
        LanguageTokenizer(tokenizer, tokenizer.get_vocab_size()),
        qformer,
        image=id_of(tokenizer, IMAGE),
        queries=stage.queries,
        end=id_of(tokenizer, END),
        pad=id_of(tokenizer, PAD),
    )


def join(
    retrieval: Path, language: OPTForCausalLM, tokenizer: Tokenizer, recipe: AskingRecipe
) -> InstructBlipForConditionalGeneration:
    """An InstructBLIP: the retrieval model's encoder and Q-Former, a new projection, the language model."""
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    raw = read_config_json(retrieval)
    unknown = ("model_type", "use_qformer_text_input")
    vision, qformer = (
        {name: value for name, value in raw[part].items() if name not in unknown}
        for part in ("vision_config", "qformer_config")
    )
    config = InstructBlipConfig(
        vision_config=vision,
        qformer_config=qformer,
        text_config=language.config.to_dict(),
        num_query_tokens=recipe.asking.queries,
        image_token_index=id_of(tokenizer, IMAGE),
    )
    torch.manual_seed(recipe.seed)
    model = InstructBlipForConditionalGeneration(config)
    weights = {}
    for name, tensor in load_file(retrieval / "model.safetensors").items():
        there = _renamed(name)
        if there is not None:
            weights[there] = tensor.float()
    weights["query_tokens"] = weights["query_tokens"][:, : recipe.asking.queries]
    # Rounded as it is shipped, so that the parts learn to speak to the very model that is there in the end.
    weights |= {
        f"language_model.{name}": tensor.half().float() for name, tensor in language.state_dict().items()
    }
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert all(name.startswith("language_projection.") for name in left.missing_keys)
    model.vision_model.requires_grad_(False)
    model.language_model.requires_grad_(False)
    return model


def _renamed(name: str) -> str | None:
    """The name in InstructBLIP of a retrieval model's tensor; None for the heads that it has not."""
    if name.startswith("embeddings."):
        return f"qformer.{name}"
    if name.startswith("qformer.layernorm."):
        return name.replace("qformer.layernorm.", "qformer.embeddings.layernorm.")
    return name if name.startswith(("vision_model.", "qformer.encoder.", "query_tokens")) else None


@dataclass(frozen=True)
class Asked:
    """Some pictures (rows of the picture store), each with an instruction; short ones first."""

    rows: list[int]
    instructions: list[Instruction]

    def mine(self) -> Asked:
        """This process's share."""
        return Asked(share(self.rows), share(self.instructions))

    def split(self, part: int) -> list[Asked]:
        """Parts of like length."""
        starts = range(0, len(self.rows), part)
        return [Asked(self.rows[i : i + part], self.instructions[i : i + part]) for i in starts]


@dataclass(frozen=True)
class Drawn:
    """How questions are drawn at one time of a run."""

    topics: dict[Topic, float]
    numbers: Sequence[float]
    plain: float
    in_order: bool
    repeated: float = 0.0


class InstructionMaker:
    """Draws what is asked in step ``step`` from (seed, step) alone, so that a resumed run asks the same."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        patches: NDArray[np.float16],
        packer: Packer,
        recipe: AskingRecipe,
        stage: AskingStage,
        seed: int,
    ) -> None:
        self.scenes, self.patches, self.packer = scenes, patches, packer
        self.recipe, self.stage, self.seed = recipe, stage, seed
        kinds = [[thing.kind for thing in scene.things] for scene in scenes]
        self.repeated = [row for row, shown in enumerate(kinds) if len(set(shown)) < len(shown)]

    def make(self, step: int) -> tuple[Asked, Asked]:
        """Pictures with questions, and pictures to describe."""
        recipe, stage = self.recipe, self.stage
        rng = Random(f"{self.seed} asked {step}")
        drawn = Drawn(
            recipe.topics if step < stage.hard_from else stage.hard_topics,
            NUMBERS if step < stage.hard_from else stage.hard_numbers,
            stage.plain if step < stage.frames_from else stage.plain_later,
            step >= stage.order_from,
            stage.repeated,
        )
        short = {task: share for task, share in recipe.tasks.items() if task in ("question", "read")}
        long = {task: share for task, share in recipe.tasks.items() if task not in short}
        late = step >= stage.captions_from
        questions = self._draw(rng, stage.late_questions if late else stage.questions, short, drawn)
        shown = replace(drawn, repeated=0.0)
        return questions, self._draw(rng, stage.late_captions if late else stage.captions, long, shown)

    def _draw(self, rng: Random, count: int, tasks: dict[str, float], drawn: Drawn) -> Asked:
        rows = [self._row(rng, drawn.repeated) for _ in range(count)]
        found = [
            instruct(rng, self.scenes[row], drawn.topics, tasks, drawn.plain, drawn.numbers, drawn.in_order)
            for row in rows
        ]
        order = sorted(range(count), key=lambda at: len(found[at].text) + len(found[at].answer))
        return Asked([rows[at] for at in order], [found[at] for at in order])

    def _row(self, rng: Random, repeated: float) -> int:
        if repeated and rng.random() < repeated:
            return rng.choice(self.repeated)
        return rng.randrange(len(self.scenes))

    def pack(self, asked: Asked) -> AnswerBatch:
        """What the learner takes."""
        patches = torch.from_numpy(self.patches[asked.rows]).float()
        texts = [one.text for one in asked.instructions]
        return self.packer.pack(patches, texts, [one.answer for one in asked.instructions])


def learn(
    learner: AnswerLearner, maker: InstructionMaker, step: int, stage: AskingStage
) -> tuple[float, float]:
    """Gradients of one step; the mean losses of questions and of captions."""
    questions, captions = maker.make(step)
    caption_weight = stage.caption_weight if step < stage.captions_from else stage.late_caption_weight
    means = []
    for asked, weight in ((questions, 1.0), (captions, caption_weight)):
        parts = asked.mine().split(stage.part)
        losses = []
        for part in parts:
            loss = learner.loss(maker.pack(part))
            (loss * weight * len(part.rows) / len(asked.rows)).backward()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means[0], means[1]


def train_asking(learner: AnswerLearner, maker: InstructionMaker, state_file: Path) -> AnswerLearner:
    """Train, or continue from the last checkpoint."""
    stage = maker.stage
    optimisers = [
        *build_optimisers([learner.qformer], stage.lr, stage.weight_decay),
        torch.optim.AdamW(
            [learner.query_tokens, *learner.language_projection.parameters()],
            lr=stage.lr, weight_decay=0.0, betas=(0.9, 0.98),
        ),
    ]  # fmt: skip
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    state = load_state(state_file)
    start = 0
    if state is not None:
        start = state["step"]
        learner.load_state_dict(state["learner"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    if has_fast_bfloat16():
        multiply_in_half(learner)
    learner.train()
    began = time.monotonic()
    recent: list[tuple[float, float]] = []
    for step in range(start, stage.steps):
        recent = [*recent[-24:], learn(learner, maker, step, stage)]
        add_gradients(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        set_rate(optimisers, stage.lr, step, stage.steps)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if step % 25 == 0:
            log.info(
                "asking %d %.0fs questions %.3f captions %.3f",
                step,
                time.monotonic() - began,
                *np.mean(recent, 0),
            )
        if is_first() and ((step + 1) % 50 == 0 or step + 1 == stage.steps):
            saved = [optimiser.state_dict() for optimiser in optimisers]
            save_state(state_file, {"step": step + 1, "learner": learner.state_dict(), "optimisers": saved})
    multiply_in_full(learner)
    return learner.eval()
