"""``sightline train`` and ``sightline eval``: fine-tuning on own pictures, and the Karpathy protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sightline.cli.options import Json

if TYPE_CHECKING:
    from sightline.evaluation.config import TextHandling
    from sightline.training.config import Objective


Model = Annotated[str, typer.Option(metavar="ID_OR_DIR", help="Checkpoint: a folder, a hub id, or `demo`.")]
Images = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder that the data's file names start from.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the model on the hub.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command(name="eval")(evaluate)


def train(
    model: Model,
    captions: Annotated[
        Path, typer.Option("--data", metavar="captions.jsonl", help="Pictures and captions.")
    ],
    images: Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the trained checkpoint goes.")],
    objectives: Annotated[str, typer.Option(help="Any of itc, itm, itg, with commas.")] = "itc,itm,itg",
    freeze_vision: Annotated[bool, typer.Option(help="Keep the image encoder as it is.")] = True,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs per device.")] = 32,
    lr: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option()] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where --out stopped.")] = False,
    revision: Revision = None,
    json: Json = False,
) -> None:
    """Fine-tune a checkpoint on pictures with captions; ends with recall before and after."""
    from sightline import training
    from sightline.cli.output import print_json, progress
    from sightline.console import answers
    from sightline.settings import load_settings
    from sightline.training.config import TrainConfig

    settings = load_settings().model
    config = TrainConfig(
        model=model, data=captions, images=images, out=out, objectives=_objectives(objectives),
        freeze_vision=freeze_vision, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, resume=resume,
        revision=revision, device=settings.device, cache_dir=settings.cache_dir,
    )  # fmt: skip
    with progress() as on_progress:
        report = training.run(config, on_progress)
    if json:
        print_json(report.to_json())
    else:
        report.render(answers())


def evaluate(
    captions: Annotated[
        Path, typer.Option("--data", metavar="DATA", help="Karpathy's JSON or captions.jsonl.")
    ],
    images: Images,
    model: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Checkpoint; the installation's when left out.")
    ] = None,
    k: Annotated[
        str, typer.Option(help="How many ITC candidates ITM judges, with commas.")
    ] = "16,64,128,256",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json, report.md, recall.png.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which split; test, else val, else everything.")] = None,
    text: Annotated[str, typer.Option(help="How captions are read: lavis or transformers.")] = "lavis",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    revision: Revision = None,
    json: Json = False,
) -> None:
    """Recall of text→image and image→text by ITC, by ITM and by their sum."""
    from sightline import evaluation
    from sightline.cli.output import print_json, progress
    from sightline.console import answers
    from sightline.evaluation.config import EvalConfig
    from sightline.settings import load_settings

    settings = load_settings().model
    config = EvalConfig(
        data=captions, images=images, model=model or settings.name, ks=_numbers(k), out=out,
        split=split, text=_handling(text), limit=limit, batch_size=batch_size, revision=revision,
        device=settings.device, cache_dir=settings.cache_dir,
    )  # fmt: skip
    with progress() as on_progress:
        report = evaluation.run(config, on_progress)
    if json:
        print_json(report.to_json())
    else:
        report.render(answers())


def _objectives(text: str) -> tuple[Objective, ...]:
    from sightline.errors import InputError
    from sightline.training.config import OBJECTIVES

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name not in OBJECTIVES]
    if wrong or not names:
        raise InputError(f"The option --objectives takes {', '.join(OBJECTIVES)} with commas, not {text!r}.")
    return cast("tuple[Objective, ...]", names)


def _handling(text: str) -> TextHandling:
    from sightline.errors import InputError

    if text not in ("lavis", "transformers"):
        raise InputError(f"The option --text is lavis or transformers, not {text!r}.")
    return cast("TextHandling", text)


def _numbers(text: str) -> tuple[int, ...]:
    from sightline.errors import InputError

    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"The option --k takes whole numbers with commas, not {text!r}.") from error
    if min(numbers) < 1:
        raise InputError("The option --k takes numbers from 1 on.")
    return numbers
