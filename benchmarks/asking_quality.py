"""What the demo model that answers knows, measured on pictures that training never saw.

Questions of five topics with balanced answers, in the product's wordings in turn, answered as ``sightline
ask`` answers them. Beside it two that see nothing: the language model alone, which learned to guess from a
tenth of its texts, and the whole model that is shown another picture. Shapes: N pictures, each with a
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import torch
from torch import Tensor

from demo.world.asking_benchmark import Asked, asked
from demo.world.benchmark import held_out
from demo.world.draw import draw
from demo.world.questions import Topic
from demo.world.scene import Scene
from sightline.blip import load
from sightline.blip.instructblip import InstructBlip
from sightline.blip.instructions import TaskName, wordings
from sightline.captioner.answering import Question, answer_sampling

SEED = 1
SIDE = 384
QUESTIONS = 200
CAPTIONED = 300
TASK_OF: dict[Topic, TaskName] = {
    "colour": "short_answer",
    "position": "short_answer",
    "count": "counting",
    "there": "yes_no",
    "match": "yes_no",
}
ASKING_GOALS = {
    "qa_accuracy": (0.85, 1.0),
    **{f"qa_{topic}": (0.85, 1.0) for topic in TASK_OF},
    "qa_blind": (0.0, 0.40),
    "asking_objects": (0.85, 1.0),
}
"""Guessing among balanced answers is right in 0.28 of cases, the mean of 1/8, 1/4, 1/2, 1/40 and 1/2."""


def asking_figures(name: str) -> dict[str, float]:
    """Right answers by topic and over all, the same of those that see nothing, and captions' (kind, colour)
    F1.
    """
    model = load(name, device="cpu", role="asking")
    if not isinstance(model, InstructBlip):
        raise TypeError(f"{name} is no InstructBLIP, whose parts are measured here")
    figures: dict[str, float] = {}
    elsewhere = []
    for topic, group in asked(SEED, QUESTIONS).items():
        questions = in_turn(topic, group)
        patches = see(model, [scene for scene, _ in group])
        truth = [question.answer for _, question in group]
        figures[f"qa_{topic}"] = right(answers(model, patches, questions), truth)
        figures[f"qa_blind_{topic}"] = right(guesses(model, questions), truth)
        elsewhere.append(right(answers(model, patches.roll(1, dims=0), questions), truth))
    figures["qa_accuracy"] = float(np.mean([figures[f"qa_{topic}"] for topic in TASK_OF]))
    figures["qa_blind"] = float(np.mean([figures[f"qa_blind_{topic}"] for topic in TASK_OF]))
    figures["qa_other_picture"] = float(np.mean(elsewhere))
    return figures | {"asking_objects": caption_f1(model)}


def in_turn(topic: Topic, group: Sequence[Asked]) -> list[Question]:
    """The questions as they are put to the model, one wording after the other."""
    task = TASK_OF[topic]
    count = len(wordings(task))
    return [Question(f"{one.text}?", task, number % count) for number, (_, one) in enumerate(group)]


def see(model: InstructBlip, scenes: Sequence[Scene]) -> Tensor:
    """Patches ``[N,P,V]`` of drawn scenes, by the product's own preprocessing."""
    parts = (scenes[start : start + 32] for start in range(0, len(scenes), 32))
    pictures = ([draw(scene, SIDE, supersample=2) for scene in part] for part in parts)
    return torch.cat([model.encode_patches(model.preprocess(images)) for images in pictures])


def answers(model: InstructBlip, patches: Tensor, questions: Sequence[Question]) -> list[str]:
    """One answer a picture: free, or the likelier one of yes and no."""
    features, prompts = model.features(patches), [question.prompt() for question in questions]
    choices = questions[0].choices()
    if choices:
        best = model.log_likelihoods(features, prompts, choices).argmax(dim=1)
        return [choices[int(row)] for row in best]
    sampling = answer_sampling(questions[0], model.sampling(questions[0].sampling))
    return [one.text for one in model.answer(features, prompts, sampling)]


def guesses(model: InstructBlip, questions: Sequence[Question]) -> list[str]:
    """What the language model answers without image positions before the question."""
    found: dict[int, str] = {}
    lengths: dict[int, list[int]] = {}
    ids = [model.language.tokenizer.ids(question.prompt()) for question in questions]
    for row, prompt in enumerate(ids):
        lengths.setdefault(len(prompt), []).append(row)
    for rows in lengths.values():
        said = _guess(model, [questions[row] for row in rows], [ids[row] for row in rows])
        found.update(zip(rows, said, strict=True))
    return [found[row] for row in range(len(questions))]


def _guess(model: InstructBlip, questions: Sequence[Question], ids: Sequence[list[int]]) -> list[str]:
    """The same for questions of one length and task."""
    language, choices = model.language, questions[0].choices()
    nothing = torch.zeros(len(questions), 0, language.width)
    if choices:
        words = language.tokenizer
        ends = [
            [[*words.option_ids(question.prompt(), one), language.ends[0]] for one in choices]
            for question in questions
        ]
        best = language.log_likelihoods(nothing, ids, ends).argmax(dim=1)
        return [choices[int(row)] for row in best]
    sampling = answer_sampling(questions[0], model.sampling(questions[0].sampling))
    return [language.decode(row[0].ids) for row in language.write(nothing, ids, 1, sampling)]


def right(said: Sequence[str], truth: Sequence[str]) -> float:
    """Share of answers that are exactly right, letters' case aside."""
    return float(np.mean([one.strip().lower() == other for one, other in zip(said, truth, strict=True)]))


def caption_f1(model: InstructBlip) -> float:
    """F1 of the (kind, colour) pairs that captions name, as ``itg_objects`` of benchmarks/quality.py."""
    from benchmarks.quality import looks_in

    scenes = Random(SEED).sample(held_out(SEED)[0], CAPTIONED)
    patches = see(model, scenes)
    captions = model.caption(model.features(patches), 1, model.sampling("beam"))
    hits = named = shown = 0
    for scene, (caption,) in zip(scenes, captions, strict=True):
        truth, said = {(thing.kind, thing.colour) for thing in scene.things}, looks_in(caption.text)
        hits, named, shown = hits + len(truth & said), named + len(said), shown + len(truth)
    return 2 * hits / max(named + shown, 1)
