"""What ``sightline train`` alone can be told, in the order of its help; the defaults stand in the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WHAT = "What is trained, and how fast"
WRITING = "Stages 2 and instruct"
MEASURING = "Measuring"
PLACES = "Places"

Model = Annotated[str, typer.Option(metavar="ID_OR_DIR", help="Checkpoint: a folder, a hub id, or `demo`.")]
Captions = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="captions.jsonl; of --stage instruct questions and answers."),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the best model so far goes.")]
Stage = Annotated[
    str, typer.Option(help="1: search; 2: captions by a language model; instruct: answers by one.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where --out stopped.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often each picture is seen.")]
BatchSize = Annotated[int, typer.Option(min=2, help="Pairs per device.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides all that is drawn.")]

Objectives = Annotated[
    str | None,
    typer.Option(
        help="Any of itc, itm, itg, with commas; all, but itg only if the checkpoint brings its head.",
        rich_help_panel=WHAT,
    ),
]
FreezeVision = Annotated[bool, typer.Option(help="Keep the image encoder as it is.", rich_help_panel=WHAT)]
Fresh = Annotated[str, typer.Option(help="Draw anew: none, qformer, or all.", rich_help_panel=WHAT)]
LearningRate = Annotated[
    float | None,
    typer.Option(min=0, help="Peak learning rate; 1e-5, with --fresh 1e-4.", rich_help_panel=WHAT),
]
VisionLearningRate = Annotated[
    float | None,
    typer.Option(min=0, help="Peak rate of the image encoder; that of --lr.", rich_help_panel=WHAT),
]
Warmup = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the run in which rates rise.", rich_help_panel=WHAT)
]
WeightDecay = Annotated[float, typer.Option(min=0, help="AdamW's, of matrices.", rich_help_panel=WHAT)]
ClipNorm = Annotated[float, typer.Option(min=0, help="Largest norm of a gradient.", rich_help_panel=WHAT)]
HardAfter = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Share of the run before ITM's negatives are hard; 0, with --fresh 0.25.",
        rich_help_panel=WHAT,
    ),
]
LabelSmoothing = Annotated[
    float, typer.Option(min=0, max=1, help="Of ITC's and ITG's labels.", rich_help_panel=WHAT)
]
Temperature = Annotated[
    float,
    typer.Option(min=0.01, max=0.5, help="ITC's at the start; it is learned.", rich_help_panel=WHAT),
]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment", help="Random crops and mirror images; with --no-freeze-vision.", rich_help_panel=WHAT
    ),
]
Text = Annotated[
    str, typer.Option(help="How captions are read: transformers or lavis.", rich_help_panel=WHAT)
]
TextLimit = Annotated[
    int, typer.Option(min=3, help="Most tokens of a caption that count.", rich_help_panel=WHAT)
]
Precision = Annotated[str, typer.Option(help="auto, no (fp32), bf16 or fp16.", rich_help_panel=WHAT)]

Prompt = Annotated[
    str,
    typer.Option(help="What captions follow, or the instruction to write one.", rich_help_panel=WRITING),
]
Wording = Annotated[
    str, typer.Option(help="How questions are put, with {question} in it.", rich_help_panel=WRITING)
]
FreezeQformer = Annotated[bool, typer.Option(help="Train the projection alone.", rich_help_panel=WRITING)]
FreezeLanguage = Annotated[
    bool, typer.Option(help="Keep the language model as it is.", rich_help_panel=WRITING)
]
AnswerLimit = Annotated[
    int, typer.Option(min=2, help="Most tokens of a caption or answer.", rich_help_panel=WRITING)
]
EvalRows = Annotated[
    int, typer.Option(min=1, help="How many captions or answers a score takes.", rich_help_panel=WRITING)
]

EvalEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Steps between scores; an epoch, at least 200. The best model so far is in --out.",
        rich_help_panel=MEASURING,
    ),
]
ValidationPictures = Annotated[
    int, typer.Option(min=1, help="How many pictures such a score takes.", rich_help_panel=MEASURING)
]
ValidationK = Annotated[
    int, typer.Option(min=1, help="How many candidates ITM judges for it.", rich_help_panel=MEASURING)
]
EvalK = Annotated[
    str, typer.Option(help="The same of the reports before and after.", rich_help_panel=MEASURING)
]
EvalPictures = Annotated[
    int, typer.Option(min=1, help="How many pictures the reports take.", rich_help_panel=MEASURING)
]
CheckpointSteps = Annotated[
    int | None,
    typer.Option(min=1, help="Steps between checkpoints to go on from; an epoch.", rich_help_panel=MEASURING),
]

Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where encoded pictures wait; OUT/cache.", rich_help_panel=PLACES),
]
