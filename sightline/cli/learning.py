"""``sightline train``: fine-tuning on own pictures."""

from __future__ import annotations

import typer

from sightline.cli import learning_options as options
from sightline.cli.captions_file import captions_of
from sightline.cli.following import following, keeping_best
from sightline.cli.learning_answers import check_options, stage_of, train_answers
from sightline.cli.options import Data, Device, HubCache, Images, Json, Lines, Revision, numbers, one_of
from sightline.cli.output import print_json
from sightline.console import reports
from sightline.errors import InputError
from sightline.evaluation.config import HANDLINGS
from sightline.training.answer_config import AnswerConfig
from sightline.training.config import FRESH, OBJECTIVES, PRECISIONS, Objective, TrainConfig

EVAL_K = ",".join(map(str, TrainConfig.eval_ks))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    ctx: typer.Context,
    model: options.Model,
    images: Images,
    out: options.Out,
    captions: options.Captions = None,
    stage: options.Stage = "1",
    resume: options.Resume = TrainConfig.resume,
    epochs: options.Epochs = TrainConfig.epochs,
    batch_size: options.BatchSize = TrainConfig.batch_size,
    seed: options.Seed = TrainConfig.seed,
    objectives: options.Objectives = None,
    freeze_vision: options.FreezeVision = TrainConfig.freeze_vision,
    fresh: options.Fresh = TrainConfig.fresh,
    lr: options.LearningRate = TrainConfig.lr,
    vision_lr: options.VisionLearningRate = TrainConfig.vision_lr,
    warmup: options.Warmup = TrainConfig.warmup,
    weight_decay: options.WeightDecay = TrainConfig.weight_decay,
    clip_norm: options.ClipNorm = TrainConfig.clip_norm,
    hard_after: options.HardAfter = TrainConfig.hard_after,
    label_smoothing: options.LabelSmoothing = TrainConfig.label_smoothing,
    temperature: options.Temperature = TrainConfig.temperature,
    augment: options.Augment = TrainConfig.augment,
    text: options.Text = TrainConfig.text,
    text_limit: options.TextLimit = TrainConfig.text_limit,
    precision: options.Precision = TrainConfig.precision,
    prompt: options.Prompt = AnswerConfig.prompt,
    wording: options.Wording = AnswerConfig.wording,
    freeze_qformer: options.FreezeQformer = AnswerConfig.freeze_qformer,
    freeze_language: options.FreezeLanguage = AnswerConfig.freeze_language,
    answer_limit: options.AnswerLimit = AnswerConfig.answer_limit,
    eval_rows: options.EvalRows = AnswerConfig.eval_rows,
    eval_every: options.EvalEvery = TrainConfig.eval_every,
    validation_pictures: options.ValidationPictures = TrainConfig.validation_pictures,
    validation_k: options.ValidationK = TrainConfig.validation_k,
    eval_k: options.EvalK = EVAL_K,
    eval_pictures: options.EvalPictures = TrainConfig.eval_pictures,
    checkpoint_steps: options.CheckpointSteps = TrainConfig.checkpoint_steps,
    cache: options.Cache = TrainConfig.cache,
    cache_dir: HubCache = None,
    revision: Revision = None,
    device: Device = None,
    line_seconds: Lines = 30.0,
    data: Data = None,
    json: Json = False,
) -> None:
    """Fine-tune a checkpoint on pictures with captions, or on questions; ends with a report."""
    from sightline.settings import load_settings

    captions, data = captions_of(captions, data)
    settings = load_settings(data).model
    check_options(ctx, TrainConfig if stage_of(stage) == "1" else AnswerConfig)
    if stage != "1":
        train_answers(ctx, captions, settings)
        return
    config = TrainConfig(
        model=model, data=captions, images=images, out=out, objectives=_objectives(objectives),
        freeze_vision=freeze_vision, fresh=one_of("--fresh", fresh, FRESH), epochs=epochs,
        batch_size=batch_size, lr=lr, vision_lr=vision_lr, weight_decay=weight_decay, warmup=warmup,
        hard_after=hard_after, label_smoothing=label_smoothing, temperature=temperature, augment=augment,
        text_limit=text_limit, text=one_of("--text", text, HANDLINGS), clip_norm=clip_norm,
        precision=one_of("--precision", precision, PRECISIONS), device=device or settings.device, seed=seed,
        resume=resume, checkpoint_steps=checkpoint_steps, eval_every=eval_every,
        validation_pictures=validation_pictures, validation_k=validation_k,
        eval_ks=numbers("--eval-k", eval_k), eval_pictures=eval_pictures, cache=cache, revision=revision,
        cache_dir=cache_dir or settings.cache_dir,
    )  # fmt: skip
    _run(config, line_seconds, json=json)


def _run(config: TrainConfig, line_seconds: float, *, json: bool) -> None:
    from sightline import training

    with following(line_seconds) as told, keeping_best(config.out, told):
        report = training.run(config, told.on_progress, told.on_step, told.on_remark)
    if json:
        print_json(report.to_json())
    else:
        report.render(reports())


def _objectives(text: str | None) -> tuple[Objective, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    found = tuple(one for one in OBJECTIVES if one in names)
    if not found or set(names) - set(found):
        raise InputError(f"The option --objectives takes {', '.join(OBJECTIVES)} with commas, not {text!r}.")
    return found
