"""Stage 4: a small OPT learns to read the world's sentences and to answer about them, then is frozen.

A text is what is read, ``</s>``, an instruction, its answer, ``</s>``: the order in which an InstructBLIP
puts image tokens, beginning, instruction and answer. Shapes: B texts · L tokens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor
from torch.nn import functional as F

from demo.training.asking_recipe import AskingRecipe, LanguageStage
from demo.training.half import has_fast_bfloat16, multiply_in_full, multiply_in_half
from demo.training.optimiser import build_optimisers, load_state, save_state, set_rate
from demo.training.together import add_gradients, count, is_first, share
from demo.world.corpus import common_words
from demo.world.instructions import Instruction, instruct
from demo.world.sample import full_caption, random_scene, random_sentence
from demo.world.scene import Scene
from demo.world.sentences import WORDINGS, Sentence, render
from sightline.training.answer_batches import pad_right
from sightline.training.answering import IGNORED

if TYPE_CHECKING:
    from transformers import OPTForCausalLM

log = logging.getLogger(__name__)
START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
"""OPT's special tokens, at OPT's ids 0 to 3; OPT begins a text with ``</s>``."""
IMAGE = "<image>"


def read_before(rng: Random, scene: Scene, evidence: str, share: float) -> str:
    """What is read before a question: mostly what the answer follows from, among other true sentences."""
    texts = [evidence] if evidence and rng.random() < share else []
    said: list[Sentence] = [] if texts and rng.random() < 0.4 else [full_caption(scene, rng)]
    said += [random_sentence(rng, scene) for _ in range(rng.choice((0, 0, 1)))]
    texts += [render(sentence, rng.randrange(WORDINGS)) for sentence in said]
    rng.shuffle(texts)
    return ". ".join(texts)


def documents(rng: Random, recipe: AskingRecipe, count: int) -> Iterator[tuple[str, Instruction]]:
    """What is read (empty where the answer is to be guessed), and an instruction with its answer."""
    for _ in range(count):
        scene = random_scene(rng)
        one = instruct(rng, scene, recipe.topics, recipe.tasks)
        stage = recipe.language
        guess = rng.random() < stage.blind
        yield "" if guess else read_before(rng, scene, one.evidence, stage.evidence), one


def learn_language_tokenizer(recipe: AskingRecipe, sample: int = 20000) -> Tokenizer:
    """Byte pairs, as OPT's, of the texts that the model learns from, in lower case; any text can be spelt.

    A space is put before the first word too, so that a word has the same ids wherever it stands.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.language.vocab_size - 1,
        special_tokens=[START, PAD, END, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(recipe, sample), trainer)
    tokenizer.add_special_tokens([AddedToken(IMAGE, normalized=False, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer


def _texts(recipe: AskingRecipe, sample: int) -> Iterator[str]:
    rng = Random(f"{recipe.seed} vocabulary")
    for read, one in documents(rng, recipe, sample):
        yield f"{read} {one.text} {one.answer}"
    everyday = common_words()
    for _ in range(3):
        yield " ".join(everyday)


def id_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that the tokenizer has."""
    found = tokenizer.token_to_id(token)
    assert found is not None
    return int(found)


def new_language_model(stage: LanguageStage, tokenizer: Tokenizer, seed: int) -> OPTForCausalLM:
    """A random OPT of the stage's geometry."""
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=stage.hidden_size,
        num_hidden_layers=stage.layers,
        num_attention_heads=stage.heads,
        ffn_dim=stage.ffn_dim,
        max_position_embeddings=stage.positions,
        word_embed_proj_dim=stage.hidden_size,
        dropout=0.0,
        attention_dropout=0.0,
        bos_token_id=id_of(tokenizer, END),
        eos_token_id=id_of(tokenizer, END),
        pad_token_id=id_of(tokenizer, PAD),
    )
    torch.manual_seed(seed)
    return OPTForCausalLM(config)


class DocumentMaker:
    """Draws the texts of step ``step`` from (seed, step) alone."""

    def __init__(self, tokenizer: Tokenizer, recipe: AskingRecipe) -> None:
        self.tokenizer, self.recipe = tokenizer, recipe

    def make(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, labels and answers' labels ``[B,L]`` (elsewhere ``IGNORED``)."""
        rng = Random(f"{self.recipe.seed} documents {step}")
        rows, labels, answers = [], [], []
        end = id_of(self.tokenizer, END)
        found = list(documents(rng, self.recipe, self.recipe.language.batch_size))
        pieces = self.tokenizer.encode_batch(
            [text for read, one in found for text in (read, one.text, one.answer)], add_special_tokens=False
        )
        for at in range(0, len(pieces), 3):
            read, asked, answer = (piece.ids for piece in pieces[at : at + 3])
            row = [*read, end, *asked, *answer, end]
            kept = len(answer) + 1
            rows.append(row)
            labels.append([IGNORED, *row[1:]])
            answers.append([IGNORED] * (len(row) - kept) + row[-kept:])
        pad = id_of(self.tokenizer, PAD)
        return pad_right(rows, pad), pad_right(labels, IGNORED), pad_right(answers, IGNORED)


def losses_of(
    model: OPTForCausalLM, ids: Tensor, labels: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Cross entropy summed over all labelled tokens and over the answers'; how many of these are right."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    kept = labels[:, 1:] != IGNORED
    logits, wanted, asked = model.lm_head(hidden[kept]), labels[:, 1:][kept], answers[:, 1:][kept] != IGNORED
    each = F.cross_entropy(logits, wanted, reduction="none")
    right = (logits.argmax(1) == wanted)[asked].sum().item()
    return each.sum(), each[asked].sum(), right


def learn_step(
    model: OPTForCausalLM, ids: Tensor, labels: Tensor, answers: Tensor, part: int
) -> tuple[float, float, float]:
    """Gradients of one step, short and long texts apart; mean losses, share of answers' tokens right."""
    length = (labels != IGNORED).sum(dim=1) + 1
    every, answered = int((labels != IGNORED).sum()), int((answers != IGNORED).sum())
    sums = [0.0, 0.0, 0.0]
    for rows in torch.tensor(share(length.argsort().tolist())).split(part):
        width = int(length[rows].max())
        one, two, right = losses_of(model, ids[rows, :width], labels[rows, :width], answers[rows, :width])
        (one / every + two / answered).backward()
        sums = [sums[0] + one.item(), sums[1] + two.item(), sums[2] + right]
    mine = count()  # rows of the others are like ours
    return mine * sums[0] / every, mine * sums[1] / answered, mine * sums[2] / answered


def train_language(recipe: AskingRecipe, tokenizer: Tokenizer, state_file: Path) -> OPTForCausalLM:
    """Train, or continue from the last checkpoint; returns the model frozen."""
    stage = recipe.language
    model = new_language_model(stage, tokenizer, recipe.seed)
    optimisers = build_optimisers([model], stage.lr, stage.weight_decay)
    state = load_state(state_file)
    start = 0
    if state is not None:
        start = state["step"]
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    if has_fast_bfloat16():
        multiply_in_half(model)
    maker = DocumentMaker(tokenizer, recipe)
    began = time.monotonic()
    for step in range(start, stage.steps):
        ids, labels, answers = maker.make(step)
        every, answer, right = learn_step(model, ids, labels, answers, stage.part)
        add_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        set_rate(optimisers, stage.lr, step, stage.steps, warmup=100)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if step % 25 == 0:
            log.info(
                "language %d %.0fs all %.3f answers %.3f right %.3f",
                step, time.monotonic() - began, every, answer, right,
            )  # fmt: skip
        if is_first() and ((step + 1) % 40 == 0 or step + 1 == stage.steps):
            saved = [optimiser.state_dict() for optimiser in optimisers]
            save_state(state_file, {"step": step + 1, "model": model.state_dict(), "optimisers": saved})
    multiply_in_full(model)
    model.train(False)
    model.requires_grad_(False)
    return model
