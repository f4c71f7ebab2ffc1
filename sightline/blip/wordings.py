"""The wordings of each task, by name: nothing but words. ``{question}`` and ``{options}`` are filled in.

None of them names a colour or a place, so that a model that was trained on few words is not misled by ours.
"""

from __future__ import annotations

from typing import Final

SHORT_ANSWER: Final = {
    "blip2": "Question: {question} Short answer:",
    "plain": "{question}",
    "brief": "{question} Answer briefly.",
    "few-words": "Look at the image and answer in a few words: {question}",
    "one-word": "{question} One word is enough.",
    "seen": "Going by what can be seen, {question}",
    "somebody": "Somebody asks about this image: {question} The short reply is",
    "question-answer": "Q: {question} A:",
    "what-is-there": "Answer from what is in the image, and keep it short. {question}",
    "phrase": "{question} Reply with a word or a short phrase:",
    "concise": "Give a concise answer to this question about the image. {question} Answer:",
    "visual": "Here is a question that the image answers: {question} The answer:",
    "tell": "Tell me in as few words as you can: {question}",
}

DESCRIPTION: Final = {
    "sentence": "Say in one sentence what this image shows.",
    "short": "A brief description of this image:",
    "what": "What does this image show?",
    "there-is": "In this image there is",
    "things": "Which things are in this image, and how do they lie to each other?",
    "blind": "Describe this image for somebody who cannot see it.",
    "caption": "A caption for this image:",
    "list": "Name what can be seen in this image.",
    "scene": "Put this scene into words.",
    "line": "Sum up this image in a single line:",
    "index": "Write the line under which this image should be found:",
    "detail": "Describe in detail what is going on in this image.",
    "look": "Look closely. What do you see?",
}

YES_NO: Final = {
    "answer": "Question: {question} Answer yes or no:",
    "plain": "{question}",
    "short": "{question} Yes or no?",
    "decide": "Decide from the image, yes or no: {question}",
    "true": "{question} Say yes if that is so, and no if it is not.",
    "seen": "Going by what can be seen, {question} Reply with yes or no.",
    "blip2": "Question: {question} Short answer:",
    "question-answer": "Q: {question} A (yes/no):",
    "one-word": "{question} Answer with the one word yes or no.",
    "check": "Check the image. {question} Yes or no:",
    "judge": "Be the judge: {question} Your ruling, yes or no:",
    "somebody": "Somebody asks about this image: {question} Is the reply yes or no?",
}

MULTIPLE_CHOICE: Final = {
    "options": "Question: {question} Options: {options}. Short answer:",
    "choose": "{question} Choose from {options}.",
    "which": "{question} Which is it: {options}?",
    "one-of": "Answer with one of {options}. {question}",
    "possible": "{question} The possible answers are {options}. The answer is",
    "pick": "Look at the image and pick the answer that fits: {options}. {question}",
    "question-answer": "Q: {question} ({options}) A:",
    "best": "{question} Of {options}, the best answer is",
    "only": "{question} Only {options} may be answered:",
    "quiz": "A quiz about this image. {question} Your choices: {options}. Your reply:",
    "unlisted": "Question: {question} Short answer:",
    "plain": "{question}",
}

TEXT_IN_IMAGE: Final = {
    "read": "Read the text in the image. {question} Answer:",
    "blip2": "Question: {question} Short answer:",
    "plain": "{question}",
    "letters": "Look for letters and numbers in the image. {question}",
    "sign": "Signs, labels and print in this image tell it: {question}",
    "spell": "{question} Reply with the words exactly as they are written:",
    "quote": "{question} Quote it:",
    "written": "Going by what is written in the image, {question}",
    "transcribe": "Transcribe what is needed to answer this: {question}",
    "question-answer": "Q: {question} A (as written):",
    "words": "{question} The words in the image say",
    "find": "Find the answer in the text that the image contains. {question} It reads",
}

COUNTING: Final = {
    "number": "Question: {question} Answer with a number:",
    "blip2": "Question: {question} Short answer:",
    "plain": "{question}",
    "count": "Count them. {question}",
    "how-many": "Look at the whole image and count: {question}",
    "digit": "{question} Reply with digits only:",
    "total": "{question} In total there are",
    "one-by-one": "Go through the image and count one by one. {question} The number is",
    "question-answer": "Q: {question} A (a number):",
    "exact": "{question} Give the exact number:",
    "seen": "Counting only what can be seen, {question}",
    "sum": "{question} The count comes to",
}
