"""``sightline train --stage 2`` and ``--stage instruct``: captions and answers by a language model."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import typer

from sightline.cli.following import following, keeping_best
from sightline.cli.options import one_of, was_given
from sightline.cli.output import print_json
from sightline.console import reports
from sightline.errors import InputError
from sightline.training.answer_config import AnswerConfig
from sightline.training.config import PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.serving.settings import ModelSettings

STAGES = ("1", "2", "instruct")
ALWAYS = ("stage", "line_seconds", "data", "json")
OPTIONS = {"eval_ks": "eval_k", "data": "captions"}
"""Options that are not named as the settings which they fill."""


def stage_of(name: str) -> str:
    """The name itself. Raises InputError: there is no such stage."""
    if name not in STAGES:
        raise InputError(f"The option --stage takes {', '.join(STAGES)}; not {name!r}.")
    return name


def check_options(ctx: typer.Context, taken: type) -> None:
    """Raises InputError: an option was given that means nothing to a stage, whose settings are ``taken``."""
    known = {OPTIONS.get(one.name, one.name) for one in fields(taken)} | set(ALWAYS)
    for name in ctx.params:
        if was_given(ctx, name) and name not in known:
            option = name.replace("_", "-")
            raise InputError(
                f"The option --{option} means nothing to --stage {ctx.params['stage']}; leave it out."
            )


def train_answers(ctx: typer.Context, captions: Path, settings: ModelSettings) -> None:
    """Train as the options of ``sightline train`` say; those that were not given are AnswerConfig's."""
    from sightline import training

    given = _given(ctx)
    config = AnswerConfig(
        stage=given["stage"], model=given["model"], data=captions, images=given["images"],
        out=given["out"], prompt=given["prompt"], wording=given["wording"],
        freeze_qformer=given["freeze_qformer"], freeze_language=given["freeze_language"],
        epochs=given["epochs"], batch_size=given["batch_size"], lr=given["lr"],
        weight_decay=given["weight_decay"], warmup=given["warmup"], text_limit=given["text_limit"],
        answer_limit=given["answer_limit"], clip_norm=given["clip_norm"],
        precision=one_of("--precision", given["precision"], PRECISIONS),
        device=given["device"] or settings.device, seed=given["seed"], resume=given["resume"],
        checkpoint_steps=given["checkpoint_steps"], eval_every=given["eval_every"],
        eval_rows=given["eval_rows"], cache=given["cache"], revision=given["revision"],
        cache_dir=given["cache_dir"] or settings.cache_dir,
    )  # fmt: skip
    with following(given["line_seconds"]) as told, keeping_best(config.out, told):
        report = training.run_answers(config, told.on_progress, told.on_step, told.on_remark)
    if given["json"]:
        print_json(report.to_json())
    else:
        report.render(reports())


def _given(ctx: typer.Context) -> dict[str, Any]:
    """What was given, else what is usual here: stage 1 has other defaults."""
    usual = {one.name: one.default for one in fields(AnswerConfig) if one.default is not MISSING}
    return {
        name: value if was_given(ctx, name) else usual.get(name, value) for name, value in ctx.params.items()
    }
