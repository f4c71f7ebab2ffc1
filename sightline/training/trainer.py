"""From captions and a checkpoint to a fine-tuned checkpoint and a report."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import resolve
from sightline.blip.config import read_config
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import InputError
from sightline.evaluation.data import DataProblem, Picture
from sightline.evaluation.report import EvalReport
from sightline.evaluation.tables import WRITTEN, PictureTable
from sightline.store.room import check_room
from sightline.training.best import BestSoFar, read_best
from sightline.training.config import OBJECTIVES, TrainConfig
from sightline.training.data import Batches, Split, read_split, sample_of
from sightline.training.defaults import LEAST_EVAL_STEPS, Chosen, choose
from sightline.training.errors import TrainingDivergedError
from sightline.training.learner import Learner, freeze
from sightline.training.loop import Run, open_best, train
from sightline.training.losses import read_losses
from sightline.training.measure import Measure
from sightline.training.needs import ADVICE, run_needs
from sightline.training.order import Order
from sightline.training.prepare import Filler, Filling
from sightline.training.report import TrainReport
from sightline.training.session import check_counts, check_folder, check_resumed, make_accelerator
from sightline.training.trainee import OnStep
from sightline.training.validation import Validation
from sightline.training.weights import load_network, publish
from sightline.types import OnProgress, OnRemark

logger = logging.getLogger(__name__)

FREE = (
    *("resume", "out", "data", "images", "device", "cache", "cache_dir"),
    *("checkpoint_steps", "eval_every", "validation_pictures", "validation_k", "eval_ks", "eval_pictures"),
)
"""Fields of TrainConfig that a resumed run need not share: they change no loss."""


@dataclass(frozen=True)
class Listener:
    """Whoever is told of a run; each part may be None."""

    on_progress: OnProgress | None = None
    on_step: OnStep | None = None
    on_remark: OnRemark | None = None


def run_training(config: TrainConfig, listener: Listener) -> TrainReport:
    """See ``training.run``."""
    begin = perf_counter()
    _check(config)
    accelerator = make_accelerator(config.precision, config.device)
    source = resolve(config.model, config.revision, config.cache_dir)
    read_config(source)  # refuses what is no BLIP-2 before a folder is made
    if source.resolve() == config.out.resolve():
        raise InputError(f"The result would replace the model {source} itself; name another folder as --out.")
    split = read_split(config)
    told = listener if accelerator.is_main_process else Listener()
    return _Trainer(config, accelerator, source, split, told, begin).run()


def _check(config: TrainConfig) -> None:
    objectives = OBJECTIVES if config.objectives is None else config.objectives
    if not objectives or set(objectives) - set(OBJECTIVES):
        given = ", ".join(objectives) or "none"
        raise InputError(f"Objectives are some of {', '.join(OBJECTIVES)}; not {given}.")
    if config.fresh == "all" and config.freeze_vision:
        raise InputError("A freshly drawn image encoder that is frozen sees nothing; add --no-freeze-vision.")
    if config.augment and config.freeze_vision:
        raise InputError("A frozen image encoder sees each picture once; --augment needs --no-freeze-vision.")
    if config.epochs < 1 or config.batch_size < 2:
        raise InputError("Training needs at least 1 epoch and 2 pairs in a batch.")
    check_counts(
        config, ("checkpoint_steps", "eval_every", "validation_pictures", "validation_k", "eval_pictures")
    )
    check_folder(config.out, config.resume)


@dataclass
class _Trainer:
    """The parts of one run, and its steps in order: see, measure, train, measure again."""

    config: TrainConfig
    accelerator: Any
    source: Path
    split: Split
    listener: Listener
    begin: float

    def run(self) -> TrainReport:
        model = Blip2(self.source, device=str(self.accelerator.device))
        chosen = choose(self.config, self.source, model.tokenizer.dec is not None)
        learner = self._learner(model, chosen)
        on_progress = self.listener.on_progress
        filler = Filler(self._cache(), self.accelerator, self.config.batch_size, on_progress)
        fillings = self._fillings(filler, model)
        self._tell(chosen, learner, fillings)
        self.config.out.mkdir(parents=True, exist_ok=True)
        table, val_table, sample_table = (filler.fill(filling) for filling in fillings)
        problems = self._problems(table, val_table)
        run = self._prepare(model, chosen, learner, table, sample_table)
        open_best(run)
        measure = Measure(self.config, self.split, filler, on_progress)
        before = measure.before(self._start(), val_table)
        del model  # its image encoder is not needed any more
        try:
            losses = train(run)
        except TrainingDivergedError as error:
            losses = read_losses(self.config.out / "losses.jsonl")
            self._report(run, before, None, losses, problems, str(error))
            raise
        after = measure.after(val_table)
        return self._report(run, before, after, losses, problems)

    def _cache(self) -> Path:
        return self.config.cache or self.config.out / "cache"

    def _fillings(self, filler: Filler, model: Blip2) -> tuple[Filling, Filling, Filling]:
        """Pictures that train, that are measured before and after, and that are scored in between."""
        val = filler.patches(model, self.split.val)
        if self.config.freeze_vision:
            return filler.patches(model, self.split.train), val, val
        pixels = model.vision.pixel_config
        return filler.pixels(pixels, self.split.train), val, filler.pixels(pixels, self.split.val)

    def _tell(self, chosen: Chosen, learner: Learner, fillings: Sequence[Filling]) -> None:
        needs = run_needs(self.config, self.source, learner, fillings)
        said = [*chosen.remarks, *check_room(needs, ADVICE)]
        on_remark = self.listener.on_remark
        if on_remark is not None:
            for remark in said:
                on_remark(remark)

    def _problems(self, *tables: PictureTable) -> tuple[DataProblem, ...]:
        problems = (*self.split.problems, *(problem for table in tables for problem in table.problems()))
        for problem in problems:
            logger.warning("left out: %s", problem)
        return problems

    def _prepare(
        self, model: Blip2, chosen: Chosen, learner: Learner, table: PictureTable, sample: PictureTable
    ) -> Run:
        config, ranks = self.config, int(self.accelerator.num_processes)
        rows = table.rows(WRITTEN)
        pictures = [self.split.train[row] for row in rows]
        order = Order([len(picture.captions) for picture in pictures], config.batch_size, config.seed, ranks)
        words = model.config.qformer_config.vocab_size
        tokenizer = load_tokenizer(self.source, config.text_limit, rows=words)
        pixels = None if config.freeze_vision else model.vision.pixel_config
        settings = self._settings(chosen, pictures, ranks)
        check_resumed(config.out, settings)
        held = sample_of(self.split.val, sample, config, pixels)
        validation = Validation(learner, tokenizer, held, config.validation_k)
        return Run(
            out=config.out,
            accelerator=self.accelerator,
            learner=learner,
            batches=Batches(pictures, table.view(rows), tokenizer, order, config, pixels),
            optimisation=chosen.optimisation,
            steps=config.epochs * order.steps_per_epoch,
            checkpoint_steps=config.checkpoint_steps or order.steps_per_epoch,
            eval_steps=config.eval_every or max(LEAST_EVAL_STEPS, order.steps_per_epoch),
            settings=settings,
            best=BestSoFar(config.out, settings, validation, self._publisher(learner)),
            on_progress=self.listener.on_progress,
            on_step=self.listener.on_step,
        )

    def _learner(self, model: Blip2, chosen: Chosen) -> Learner:
        config = self.config
        network, head = load_network(self.source, not config.freeze_vision, config.fresh, config.seed)
        learner = Learner(
            network, head, model.tokenizer.dec, chosen.objectives, config.temperature, config.label_smoothing
        )
        freeze(learner, config.freeze_vision)
        return learner.to(self.accelerator.device)

    def _publisher(self, learner: Learner) -> Callable[[str, str], None]:
        has_head = "itg" in learner.objectives or (self.source / "itg_head.safetensors").exists()

        def publish_with(name: str, text: str) -> None:
            head = learner.head if has_head else None
            publish(self.source, self.config.out, learner.network.state_dict(), head, {name: text})

        return publish_with

    def _settings(self, chosen: Chosen, pictures: Sequence[Picture], ranks: int) -> dict[str, Any]:
        shared = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        shared |= {"objectives": chosen.objectives, **asdict(chosen.optimisation)}
        names = "\n".join(f"{picture.name}\t{picture.captions}" for picture in pictures)
        digest = hashlib.sha256(names.encode()).hexdigest()[:16]
        settings = {**shared, "ranks": ranks, "train_pictures": len(pictures), "train_data": digest}
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _start(self) -> Path:
        """The folder of the model that training starts from: the checkpoint, or the freshly drawn one."""
        return self.source if self.config.fresh == "none" else self.config.out

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
            best=read_best(self.config.out),
            processor_seconds=process_time(),
        )
        if self.accelerator.is_main_process:
            report.write(self.config.out)
        return report
