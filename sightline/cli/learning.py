"""``sightline train`` and ``sightline eval``: fine-tuning on own pictures, and the Karpathy protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sightline.cli.following import following
from sightline.cli.learning_answers import check_options, stage_of, train_answers
from sightline.cli.options import Json
from sightline.cli.output import print_json
from sightline.console import answers
from sightline.errors import InputError
from sightline.evaluation.config import EvalConfig, PatchDtype, TextHandling
from sightline.training.answer_config import AnswerConfig
from sightline.training.config import OBJECTIVES, Fresh, Objective, Precision, TrainConfig

RUN = "The run"
WHAT = "What is trained, and how fast"
MEASURING = "Measuring"
PLACES = "Places"
WRITING = "Stages 2 and instruct"

Model = Annotated[str, typer.Option(metavar="ID_OR_DIR", help="Checkpoint: a folder, a hub id, or `demo`.")]
Images = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder that the data's file names start from.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the model on the hub.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, mps, …; the installation's, else the best there is.")
]
HubCache = Annotated[
    Path | None,
    typer.Option("--cache-dir", metavar="DIR", help="Where models of the hub are kept; the installation's."),
]
Lines = Annotated[
    float, typer.Option(min=0, help="Off a terminal, seconds between two lines that say how far it is.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command(name="eval")(evaluate)


def train(
    ctx: typer.Context,
    model: Model,
    data: Annotated[
        Path, typer.Option(metavar="DATA", help="captions.jsonl; of --stage instruct questions and answers.")
    ],
    images: Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the best model so far goes.")],
    stage: Annotated[
        str, typer.Option(help="1: search; 2: captions by a language model; instruct: answers by one.")
    ] = "1",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where --out stopped.")] = TrainConfig.resume,
    epochs: Annotated[int, typer.Option(min=1, help="How often each picture is seen.")] = TrainConfig.epochs,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs per device.")] = TrainConfig.batch_size,
    seed: Annotated[int, typer.Option(min=0, help="Decides all that is drawn.")] = TrainConfig.seed,
    objectives: Annotated[
        str | None,
        typer.Option(
            help="Any of itc, itm, itg, with commas; all, but itg only if the checkpoint brings its head.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    freeze_vision: Annotated[
        bool, typer.Option(help="Keep the image encoder as it is.", rich_help_panel=WHAT)
    ] = TrainConfig.freeze_vision,
    fresh: Annotated[
        str, typer.Option(help="Draw anew: none, qformer, or all.", rich_help_panel=WHAT)
    ] = TrainConfig.fresh,
    lr: Annotated[
        float | None,
        typer.Option(min=0, help="Peak learning rate; 1e-5, with --fresh 1e-4.", rich_help_panel=WHAT),
    ] = TrainConfig.lr,
    vision_lr: Annotated[
        float | None,
        typer.Option(min=0, help="Peak rate of the image encoder; that of --lr.", rich_help_panel=WHAT),
    ] = TrainConfig.vision_lr,
    warmup: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the run in which rates rise.", rich_help_panel=WHAT)
    ] = TrainConfig.warmup,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="AdamW's, of matrices.", rich_help_panel=WHAT)
    ] = TrainConfig.weight_decay,
    clip_norm: Annotated[
        float, typer.Option(min=0, help="Largest norm of a gradient.", rich_help_panel=WHAT)
    ] = TrainConfig.clip_norm,
    hard_after: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the run before ITM's negatives are hard; 0, with --fresh 0.25.",
            rich_help_panel=WHAT,
        ),
    ] = TrainConfig.hard_after,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=1, help="Of ITC's and ITG's labels.", rich_help_panel=WHAT)
    ] = TrainConfig.label_smoothing,
    temperature: Annotated[
        float,
        typer.Option(min=0.01, max=0.5, help="ITC's at the start; it is learned.", rich_help_panel=WHAT),
    ] = TrainConfig.temperature,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment", help="Random crops and mirror images; with --no-freeze-vision.", rich_help_panel=WHAT
        ),
    ] = TrainConfig.augment,
    text: Annotated[
        str, typer.Option(help="How captions are read: transformers or lavis.", rich_help_panel=WHAT)
    ] = TrainConfig.text,
    text_limit: Annotated[
        int, typer.Option(min=3, help="Most tokens of a caption that count.", rich_help_panel=WHAT)
    ] = TrainConfig.text_limit,
    precision: Annotated[
        str, typer.Option(help="auto, no (fp32), bf16 or fp16.", rich_help_panel=WHAT)
    ] = TrainConfig.precision,
    prompt: Annotated[
        str,
        typer.Option(help="What captions follow, or the instruction to write one.", rich_help_panel=WRITING),
    ] = AnswerConfig.prompt,
    wording: Annotated[
        str, typer.Option(help="How questions are put, with {question} in it.", rich_help_panel=WRITING)
    ] = AnswerConfig.wording,
    freeze_qformer: Annotated[
        bool, typer.Option(help="Train the projection alone.", rich_help_panel=WRITING)
    ] = AnswerConfig.freeze_qformer,
    freeze_language: Annotated[
        bool, typer.Option(help="Keep the language model as it is.", rich_help_panel=WRITING)
    ] = AnswerConfig.freeze_language,
    answer_limit: Annotated[
        int, typer.Option(min=2, help="Most tokens of a caption or answer.", rich_help_panel=WRITING)
    ] = AnswerConfig.answer_limit,
    eval_rows: Annotated[
        int, typer.Option(min=1, help="How many captions or answers a score takes.", rich_help_panel=WRITING)
    ] = AnswerConfig.eval_rows,
    eval_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps between scores; an epoch, at least 200. The best model so far is in --out.",
            rich_help_panel=MEASURING,
        ),
    ] = TrainConfig.eval_every,
    validation_pictures: Annotated[
        int, typer.Option(min=1, help="How many pictures such a score takes.", rich_help_panel=MEASURING)
    ] = TrainConfig.validation_pictures,
    validation_k: Annotated[
        int, typer.Option(min=1, help="How many candidates ITM judges for it.", rich_help_panel=MEASURING)
    ] = TrainConfig.validation_k,
    eval_k: Annotated[
        str, typer.Option(help="The same of the reports before and after.", rich_help_panel=MEASURING)
    ] = ",".join(map(str, TrainConfig.eval_ks)),
    eval_pictures: Annotated[
        int, typer.Option(min=1, help="How many pictures the reports take.", rich_help_panel=MEASURING)
    ] = TrainConfig.eval_pictures,
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between checkpoints to go on from; an epoch.", rich_help_panel=MEASURING
        ),
    ] = TrainConfig.checkpoint_steps,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where encoded pictures wait; OUT/cache.", rich_help_panel=PLACES),
    ] = TrainConfig.cache,
    cache_dir: HubCache = None,
    revision: Revision = None,
    device: Device = None,
    line_seconds: Lines = 30.0,
    json: Json = False,
) -> None:
    """Fine-tune a checkpoint on pictures with captions, or on questions; ends with a report."""
    from sightline import training
    from sightline.settings import load_settings

    settings = load_settings().model
    check_options(ctx, TrainConfig if stage_of(stage) == "1" else AnswerConfig)
    if stage != "1":
        train_answers(ctx, _one_of("--precision", precision, PRECISIONS), settings)
        return
    config = TrainConfig(
        model=model, data=data, images=images, out=out, objectives=_objectives(objectives),
        freeze_vision=freeze_vision, fresh=_one_of("--fresh", fresh, FRESH), epochs=epochs,
        batch_size=batch_size, lr=lr, vision_lr=vision_lr, weight_decay=weight_decay, warmup=warmup,
        hard_after=hard_after, label_smoothing=label_smoothing, temperature=temperature, augment=augment,
        text_limit=text_limit, text=_one_of("--text", text, HANDLINGS), clip_norm=clip_norm,
        precision=_one_of("--precision", precision, PRECISIONS), device=device or settings.device, seed=seed,
        resume=resume, checkpoint_steps=checkpoint_steps, eval_every=eval_every,
        validation_pictures=validation_pictures, validation_k=validation_k,
        eval_ks=_numbers("--eval-k", eval_k), eval_pictures=eval_pictures, cache=cache, revision=revision,
        cache_dir=cache_dir or settings.cache_dir,
    )  # fmt: skip
    with following(line_seconds) as told:
        try:
            report = training.run(config, told.on_progress, told.on_step, told.on_remark)
        except KeyboardInterrupt:
            told.on_remark(_stopped(out))
            raise
    if json:
        print_json(report.to_json())
    else:
        report.render(answers())


def evaluate(
    data: Annotated[Path, typer.Option(metavar="DATA", help="Karpathy's JSON or captions.jsonl.")],
    images: Images,
    model: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Checkpoint; the installation's when left out.")
    ] = None,
    k: Annotated[str, typer.Option(help="How many ITC candidates ITM judges, with commas.")] = ",".join(
        map(str, EvalConfig.ks)
    ),
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json, report.md, recall.png.")
    ] = EvalConfig.out,
    split: Annotated[
        str | None, typer.Option(help="Which split; test, else val, else everything.")
    ] = EvalConfig.split,
    text: Annotated[
        str, typer.Option(help="How captions are read: lavis or transformers.")
    ] = EvalConfig.text,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = EvalConfig.limit,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures or pairs at once.")
    ] = EvalConfig.batch_size,
    patches: Annotated[
        str, typer.Option(help="How precisely patches wait on disk: float16 or float32.")
    ] = EvalConfig.patches,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where patches wait, kept for another evaluation; else a temporary folder."
        ),
    ] = EvalConfig.cache,
    cache_dir: HubCache = None,
    revision: Revision = None,
    device: Device = None,
    line_seconds: Lines = 30.0,
    json: Json = False,
) -> None:
    """Recall of text→image and image→text by ITC, by ITM and by their sum."""
    from sightline import evaluation
    from sightline.settings import load_settings

    settings = load_settings().model
    config = EvalConfig(
        data=data, images=images, model=model or settings.name, ks=_numbers("--k", k), out=out,
        split=split, text=_one_of("--text", text, HANDLINGS), limit=limit, batch_size=batch_size,
        patches=_one_of("--patches", patches, PATCHES), cache=cache, revision=revision,
        device=device or settings.device, cache_dir=cache_dir or settings.cache_dir,
    )  # fmt: skip
    with following(line_seconds) as told:
        report = evaluation.run(config, told.on_progress, told.on_remark)
    if json:
        print_json(report.to_json())
    else:
        report.render(answers())


HANDLINGS: tuple[TextHandling, ...] = ("lavis", "transformers")
PATCHES: tuple[PatchDtype, ...] = ("float16", "float32")
FRESH: tuple[Fresh, ...] = ("none", "qformer", "all")
PRECISIONS: tuple[Precision, ...] = ("auto", "no", "bf16", "fp16")
Choice = TypeVar("Choice", bound=str)


def _stopped(out: Path) -> str:
    from sightline.training.best import read_best

    best = read_best(out)
    if best is None:
        return f"Stopped before the first step; {out} holds no model yet."
    return f"Stopped; {out} holds the best model so far, of step {best.step:,}, and --resume goes on."


def _one_of(option: str, text: str, choices: tuple[Choice, ...]) -> Choice:
    for choice in choices:
        if choice == text:
            return choice
    raise InputError(f"The option {option} is one of {', '.join(choices)}, not {text!r}.")


def _objectives(text: str | None) -> tuple[Objective, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    found = tuple(one for one in OBJECTIVES if one in names)
    if not found or set(names) - set(found):
        raise InputError(f"The option --objectives takes {', '.join(OBJECTIVES)} with commas, not {text!r}.")
    return found


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"The option {option} takes whole numbers with commas, not {text!r}.") from error
    if numbers and min(numbers) < 1:
        raise InputError(f"The option {option} takes numbers from 1 on.")
    return numbers
