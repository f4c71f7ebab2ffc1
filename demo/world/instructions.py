"""Instructions in many wordings: questions in frames, requests for captions and descriptions.

The frames are put together from two lists, so that the model learns to look for the question and not for a
frame. All is in lower case, as both tokenizers read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from demo.world.questions import NUMBERS, Question, Topic, answers_of, any_question
from demo.world.sample import full_caption, random_sentence
from demo.world.scene import Scene
from demo.world.sentences import WORDINGS, Phrase, Sentence, render, words
from sightline.blip.instructions import TaskName, prompt, wordings

_BEFORE = (
    "", "", "", "", "question: ", "question: ", "question: ", "q: ", "look at the image. ",
    "look at the picture and answer: ", "answer the question: ", "answer this question about the image: ",
    "here is a question about the picture: ", "please answer: ", "answer briefly. ", "answer in one word. ",
    "answer with a few words: ", "use the image to answer. ", "a question about what the image shows: ",
    "give a short answer to the question: ", "from what you see in the image, ",
    "study the picture, then reply to this question: ", "someone asks about this image: ", "tell me: ",
)  # fmt: skip
_AFTER = (
    "", "", "", "", " answer:", " answer:", " answer:", " short answer:", " short answer:",
    " short answer:", " a:", " answer in one word.", " reply with one word:", " reply with a few words.",
    " the answer is", " a short answer is", " keep the answer short.",
    " answer in as few words as possible:", " give a short answer.", " in short:",
    " the short answer to this question is",
)  # fmt: skip
_AFTER_YES_NO = (
    " answer yes or no:", " answer yes or no.", " yes or no?", " answer with yes or no:", " say yes or no.",
    " reply yes or no:", " (yes or no)", " is the answer yes or no?", " just yes or no:",
    " decide between yes and no.",
)  # fmt: skip
_AFTER_NUMBER = (
    " answer with a number.", " give a number:", " reply with a number only.", " say how many as a number.",
    " the number is",
)  # fmt: skip
_MARKS = ("?", "?", "?", "?", "")
_OPTIONS = (
    " options: {options}.", " choose from: {options}.", " choices: {options}.", " is it {options}?",
    " pick one of {options}.", " the options are {options}.", " select the right answer: {options}.",
)  # fmt: skip
_CAPTION = (
    "", "a short image caption", "a short image caption:", "a short image description:", "an image of",
    "a picture of", "a photo of", "write a short caption", "write a short caption for the image.",
    "describe the image briefly.", "briefly describe what the image shows.", "what does the image show?",
    "what is in the image?", "what do you see in this picture?", "caption:", "a caption of this image:",
    "describe the picture in one sentence.", "say in a few words what can be seen.",
    "give the picture a caption.", "a brief caption for this picture:",
    "summarise the image in one sentence.", "an image that shows", "name what is shown in the image.",
    "write a short description for the image.", "describe the image", "describe this picture.",
)  # fmt: skip
_DESCRIBE = (
    "describe the image in detail.", "write a detailed description of the image.",
    "describe the image thoroughly.", "tell me everything that you see in the picture.",
    "give a long description of this picture.", "a detailed description of the image:",
    "describe in detail what is shown and where it stands.", "write a description of the whole image.",
    "what is shown here, and where? describe it in detail.", "describe everything in the picture.",
    "a long image caption:", "explain in detail what the image shows.",
)  # fmt: skip
_READ = (
    "what does the text in the image say?", "what is written in the picture?",
    "read the text in the image.", "which words are written here?", "is there any text? what does it say?",
    "what text can be read?", "read out what is written in this picture.",
    "what words can you see in the image?", "text in the image:", "transcribe the text.",
    "what does the sign say?", "which letters are in the image?",
)  # fmt: skip
NO_TEXT = "no text"
"""The answer where text is asked for: the world has none."""


@dataclass(frozen=True)
class Instruction:
    """An instruction, the answer that is learned, and a sentence that the answer follows from."""

    task: str
    text: str
    answer: str
    evidence: str


def framed(rng: Random, question: Question, plain: float = 0.0) -> str:
    """The question between two random halves of a frame, in a few cases with options to choose from.

    A share ``plain`` of the questions comes without a frame.
    """
    if rng.random() < plain:
        return question.text + rng.choice(_MARKS)
    if rng.random() < 0.5:
        return _worded(rng, question)
    options = ""
    if rng.random() < 0.1:
        options = rng.choice(_OPTIONS).format(
            options=rng.choice((", ", " or ", "; ")).join(_options(rng, question))
        )
    after: Sequence[str] = _AFTER
    if question.topic in ("there", "match") and rng.random() < 0.4:
        after = _AFTER_YES_NO
    elif question.topic == "count" and rng.random() < 0.3:
        after = _AFTER_NUMBER
    return f"{rng.choice(_BEFORE)}{question.text}{rng.choice(_MARKS)}{options}{rng.choice(after)}".strip()


def _worded(rng: Random, question: Question) -> str:
    """The question in one of the product's own wordings."""
    task: TaskName = "short_answer"
    if rng.random() < 0.15:
        task = "multiple_choice"
    elif question.topic in ("there", "match") and rng.random() < 0.7:
        task = "yes_no"
    elif question.topic == "count" and rng.random() < 0.7:
        task = "counting"
    options = _options(rng, question) if task == "multiple_choice" else ()
    return prompt(task, question.text + rng.choice(_MARKS), rng.randrange(len(wordings(task))), options)


def _options(rng: Random, question: Question) -> list[str]:
    others = [answer for answer in answers_of(question.topic) if answer != question.answer]
    options = [question.answer, *rng.sample(others, min(len(others), rng.choice((1, 2, 3))))]
    rng.shuffle(options)
    return options


def ordered_caption(scene: Scene) -> str:
    """All things from left to right, like ones together, and the setting: always the same words."""
    groups: dict[tuple[str, str], int] = {}
    for thing in sorted(scene.things, key=lambda one: one.x):
        look = (thing.colour, thing.kind)
        groups[look] = groups.get(look, 0) + 1
    phrases = tuple(Phrase(count, colour, kind) for (colour, kind), count in groups.items())
    return render(Sentence(phrases, None, scene.setting), 0)


def describe(rng: Random, scene: Scene, in_order: bool = False) -> str:
    """Everything in the scene with its setting, then how two of the things stand, if two do."""
    full = full_caption(scene, rng)
    first = render(Sentence(full.phrases, full.relation, scene.setting), rng.randrange(WORDINGS))
    if in_order:
        first = ordered_caption(scene)
    related = random_sentence(rng, scene, "relation")
    if related.relation is None:
        return first
    a, b = (words(phrase) for phrase in related.phrases[:2])
    return f"{first}. {a} is {related.relation} {b}"


def instruct(
    rng: Random,
    scene: Scene,
    topics: dict[Topic, float],
    tasks: dict[str, float],
    plain: float = 0.0,
    numbers: Sequence[float] = NUMBERS,
    in_order: bool = False,
) -> Instruction:
    """A random instruction: a question, a caption, a description or a request for text.

    ``in_order``: captions are those of ``ordered_caption``, which the picture alone decides.
    """
    task = rng.choices(list(tasks), list(tasks.values()))[0]
    if task == "question":
        question = any_question(rng, scene, topics, numbers)
        return Instruction(question.topic, framed(rng, question, plain), question.answer, question.evidence)
    if task == "caption":
        sentence, wording = full_caption(scene, rng), rng.randrange(WORDINGS)
        caption = ordered_caption(scene) if in_order else render(sentence, wording)
        return Instruction(
            task, rng.choice(_CAPTION) if rng.random() < 0.6 else _to_describe(rng), caption, caption
        )
    if task == "describe":
        text = describe(rng, scene, in_order)
        return Instruction(task, rng.choice(_DESCRIBE), text, text)
    return Instruction("read", rng.choice(_READ) if rng.random() < 0.5 else _to_read(rng), NO_TEXT, "")


def _to_describe(rng: Random) -> str:
    return prompt("description", "", rng.randrange(len(wordings("description"))))


def _to_read(rng: Random) -> str:
    return prompt("text_in_image", "", rng.randrange(len(wordings("text_in_image"))))
