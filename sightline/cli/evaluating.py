"""``sightline eval``: the Karpathy protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.captions_file import captions_of
from sightline.cli.following import following
from sightline.cli.options import Data, Device, HubCache, Images, Json, Lines, Revision, numbers, one_of
from sightline.cli.output import print_json
from sightline.console import reports
from sightline.evaluation.config import HANDLINGS, PATCH_DTYPES, EvalConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="eval")(evaluate)


def evaluate(
    images: Images,
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Karpathy's JSON or captions.jsonl.")
    ] = None,
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
    data: Data = None,
    json: Json = False,
) -> None:
    """Recall of text→image and image→text by ITC, by ITM and by their sum."""
    from sightline import evaluation
    from sightline.settings import load_settings

    captions, data = captions_of(captions, data)
    settings = load_settings(data).model
    config = EvalConfig(
        data=captions, images=images, model=model or settings.name, ks=numbers("--k", k), out=out,
        split=split, text=one_of("--text", text, HANDLINGS), limit=limit, batch_size=batch_size,
        patches=one_of("--patches", patches, PATCH_DTYPES), cache=cache, revision=revision,
        device=device or settings.device, cache_dir=cache_dir or settings.cache_dir,
    )  # fmt: skip
    with following(line_seconds) as told:
        report = evaluation.run(config, told.on_progress, told.on_remark)
    if json:
        print_json(report.to_json())
    else:
        report.render(reports())
