"""From captions and a checkpoint to a fine-tuned checkpoint and a report."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import resolve
from sightline.blip.config import read_config
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import ConflictError, InputError
from sightline.evaluation.data import DataProblem, Picture
from sightline.evaluation.report import EvalReport
from sightline.evaluation.tables import WRITTEN, PictureTable
from sightline.training import checkpoints
from sightline.training.config import OBJECTIVES, TrainConfig
from sightline.training.data import Batches, Split, read_split
from sightline.training.errors import TrainingDivergedError
from sightline.training.learner import Learner
from sightline.training.loop import Run, freeze, train
from sightline.training.losses import read_losses
from sightline.training.measure import Measure
from sightline.training.order import Order
from sightline.training.prepare import Filler
from sightline.training.report import TrainReport
from sightline.training.weights import load_network, publish
from sightline.types import OnProgress

logger = logging.getLogger(__name__)

FREE = (
    *("resume", "out", "data", "images", "device", "cache", "cache_dir"),
    *("checkpoint_steps", "eval_ks", "eval_pictures"),
)
"""Fields of TrainConfig that a resumed run need not share: they change no loss."""


def run_training(config: TrainConfig, on_progress: OnProgress | None = None) -> TrainReport:
    """See ``training.run``."""
    begin = perf_counter()
    _check(config)
    accelerator = _accelerator(config)
    progress = on_progress if accelerator.is_main_process else None
    source = resolve(config.model, config.revision, config.cache_dir)
    read_config(source)  # refuses what is no BLIP-2 before a folder is made
    split = read_split(config)
    config.out.mkdir(parents=True, exist_ok=True)
    return _Trainer(config, accelerator, source, split, progress, begin).run()


def _check(config: TrainConfig) -> None:
    if not config.objectives or set(config.objectives) - set(OBJECTIVES):
        given = ", ".join(config.objectives) or "none"
        raise InputError(f"Objectives are some of {', '.join(OBJECTIVES)}; not {given}.")
    if config.fresh == "all" and config.freeze_vision:
        raise InputError("A freshly drawn image encoder that is frozen sees nothing; add --no-freeze-vision.")
    if config.epochs < 1 or config.batch_size < 2:
        raise InputError("Training needs at least 1 epoch and 2 pairs in a batch.")
    if not config.resume and checkpoints.latest(config.out / "checkpoints"):
        raise ConflictError(f"{config.out} already holds a run; add --resume or name another folder.")


def _accelerator(config: TrainConfig) -> Any:
    import torch
    from accelerate import Accelerator

    precision: str = config.precision
    if precision == "auto":
        on_gpu = torch.cuda.is_available() and config.device != "cpu"
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"
    return Accelerator(mixed_precision=precision, cpu=config.device == "cpu")


@dataclass
class _Trainer:
    """The parts of one run, and its steps in order: see, measure, train, publish, measure again."""

    config: TrainConfig
    accelerator: Any
    source: Path
    split: Split
    on_progress: OnProgress | None
    begin: float

    def run(self) -> TrainReport:
        model = Blip2(self.source, device=str(self.accelerator.device))
        filler = Filler(self._cache(), self.accelerator, self.config.batch_size, self.on_progress)
        table = self._train_table(filler, model)
        val_table = filler.patches(model, self.split.val)
        problems = self._problems(table, val_table)
        run = self._prepare(model, table)
        measure = Measure(self.config, self.split, filler, self.on_progress)
        before = measure.before(self._start(run), val_table)
        del model  # its image encoder is not needed any more
        try:
            losses = train(run)
        except TrainingDivergedError as error:
            losses = read_losses(self.config.out / "losses.jsonl")
            self._report(run, before, None, losses, problems, str(error))
            raise
        if self.accelerator.is_main_process:
            publish(self.source, self.config.out, *self._trained(run))
        self.accelerator.wait_for_everyone()
        after = measure.after(val_table)
        return self._report(run, before, after, losses, problems)

    def _cache(self) -> Path:
        return self.config.cache or self.config.out / "cache"

    def _train_table(self, filler: Filler, model: Blip2) -> PictureTable:
        if self.config.freeze_vision:
            return filler.patches(model, self.split.train)
        return filler.pixels(model.vision.pixel_config, self.split.train)

    def _problems(self, *tables: PictureTable) -> tuple[DataProblem, ...]:
        problems = (*self.split.problems, *(problem for table in tables for problem in table.problems()))
        for problem in problems:
            logger.warning("left out: %s", problem)
        return problems

    def _prepare(self, model: Blip2, table: PictureTable) -> Run:
        config, ranks = self.config, int(self.accelerator.num_processes)
        rows = table.rows(WRITTEN)
        pictures = [self.split.train[row] for row in rows]
        order = Order([len(picture.captions) for picture in pictures], config.batch_size, config.seed, ranks)
        words = model.config.qformer_config.vocab_size
        tokenizer = load_tokenizer(self.source, config.text_limit, rows=words)
        pixels = None if config.freeze_vision else model.vision.pixel_config
        settings = self._settings(pictures, ranks)
        self._check_resumed(settings)
        return Run(
            config=config,
            accelerator=self.accelerator,
            learner=self._learner(model),
            batches=Batches(pictures, table.view(rows), tokenizer, order, config, pixels),
            steps=config.epochs * order.steps_per_epoch,
            checkpoint_steps=config.checkpoint_steps or order.steps_per_epoch,
            settings=settings,
            on_progress=self.on_progress,
        )

    def _learner(self, model: Blip2) -> Learner:
        config, decode_id = self.config, model.tokenizer.dec
        if "itg" in config.objectives and decode_id is None:
            raise InputError(f"{config.model} has no [DEC] token and cannot learn captions; leave itg out.")
        network, head = load_network(self.source, not config.freeze_vision, config.fresh, config.seed)
        learner = Learner(
            network, head, decode_id, config.objectives, config.temperature, config.label_smoothing
        )
        freeze(learner, config)
        return learner.to(self.accelerator.device)

    def _settings(self, pictures: Sequence[Picture], ranks: int) -> dict[str, Any]:
        shared = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        names = "\n".join(f"{picture.name}\t{picture.captions}" for picture in pictures)
        digest = hashlib.sha256(names.encode()).hexdigest()[:16]
        settings = {**shared, "ranks": ranks, "train_pictures": len(pictures), "train_data": digest}
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _check_resumed(self, settings: dict[str, Any]) -> None:
        checkpoint = checkpoints.latest(self.config.out / "checkpoints")
        old = checkpoint.settings if checkpoint else settings
        changed = [name for name, value in settings.items() if old.get(name) != value]
        if changed:
            was = ", ".join(f"{name} {old.get(name)} → {settings[name]}" for name in changed)
            raise ConflictError(f"The run in {self.config.out} was started with other settings: {was}.")

    def _start(self, run: Run) -> Path:
        """The folder of the model that training starts from: the checkpoint, or the freshly drawn one."""
        if self.config.fresh == "none":
            return self.source
        folder = self._cache() / "start"
        if self.accelerator.is_main_process:
            publish(self.source, folder, run.learner.network.state_dict(), None)
        self.accelerator.wait_for_everyone()
        return folder

    def _trained(self, run: Run) -> tuple[dict[str, Any], Any]:
        """Trained tensors of the checkpoint by their names there, and the ITG head if the result has one."""
        learner = run.learner
        has_head = "itg" in self.config.objectives or (self.source / "itg_head.safetensors").exists()
        return learner.network.state_dict(), learner.head if has_head else None

    def _report(
        self,
        run: Run,
        before: EvalReport,
        after: EvalReport | None,
        losses: Sequence[dict[str, float]],
        problems: tuple[DataProblem, ...],
        message: str = "",
    ) -> TrainReport:
        report = TrainReport(
            state="done" if after else "diverged",
            out=str(self.config.out),
            settings=run.settings,
            pictures=int(run.settings["train_pictures"]),
            measured=self.split.measured,
            steps=len(losses),
            seconds=perf_counter() - self.begin,
            before=before,
            after=after,
            losses=tuple(losses),
            problems=problems,
            message=message,
        )
        if self.accelerator.is_main_process:
            report.write(self.config.out)
        return report
