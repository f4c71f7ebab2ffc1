"""From captions or questions, and a checkpoint that writes, to a tuned checkpoint and a report."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from sightline.blip.checkpoint import read_config_json, resolve
from sightline.blip.config_language import WriterConfig, read_writer_config
from sightline.blip.language_model import ends_and_pad
from sightline.blip.language_tokenizer import load_language_tokenizer
from sightline.blip.retrieval import SeeingCheckpoint
from sightline.blip.tokenizer import load_tokenizer
from sightline.blip.weights import list_tensors, read_tensors
from sightline.errors import InputError
from sightline.evaluation.data import DataProblem
from sightline.evaluation.tables import WRITTEN, PictureTable
from sightline.store.room import check_room
from sightline.training.answer_batches import Packer
from sightline.training.answer_config import AnswerConfig
from sightline.training.answer_data import (
    AnswerBatches,
    AnswerSplit,
    Example,
    distinct_pictures,
    read_examples,
)
from sightline.training.answer_report import AnswerReport
from sightline.training.answer_validation import AnswerValidation, Judged
from sightline.training.answer_weights import QFORMER_TOKENIZER, load_stock, publish_writer
from sightline.training.answering import AnswerLearner
from sightline.training.best import BestSoFar
from sightline.training.defaults import LEAST_EVAL_STEPS
from sightline.training.errors import TrainingDivergedError
from sightline.training.loop import Run, open_best, train
from sightline.training.losses import read_losses
from sightline.training.needs import ADVICE, model_needs, writer_bytes
from sightline.training.order import Order
from sightline.training.prepare import Filler
from sightline.training.session import check_counts, check_folder, check_resumed, make_accelerator
from sightline.training.trainee import Optimisation
from sightline.training.trainer import Listener

logger = logging.getLogger(__name__)
FREE = (
    *("resume", "out", "data", "images", "device", "cache", "cache_dir"),
    *("checkpoint_steps", "eval_every", "eval_rows"),
)
"""Fields of AnswerConfig that a resumed run need not share: they change no loss."""
LONGEST_INSTRUCTION = 512
"""Most tokens of an instruction for the Q-Former, where its positions do not end before."""


def run_answer_training(config: AnswerConfig, listener: Listener) -> AnswerReport:
    """See ``training.run_answers``."""
    begin = perf_counter()
    if config.epochs < 1 or config.batch_size < 1:
        raise InputError("Training needs at least 1 epoch and 1 example in a batch.")
    check_counts(config, ("checkpoint_steps", "eval_every", "eval_rows", "text_limit", "answer_limit"))
    check_folder(config.out, config.resume)
    accelerator = make_accelerator(config.precision, config.device)
    source = resolve(config.model, config.revision, config.cache_dir, role="asking")
    if source.resolve() == config.out.resolve():
        raise InputError(f"The result would replace the model {source} itself; name another folder as --out.")
    split = read_examples(config)
    told = listener if accelerator.is_main_process else Listener()
    return _AnswerTrainer(config, accelerator, source, split, told, begin).run()


@dataclass
class _AnswerTrainer:
    """The parts of one run, and its steps in order: see, judge, train, judge again."""

    config: AnswerConfig
    accelerator: Any
    source: Path
    split: AnswerSplit
    listener: Listener
    begin: float

    def run(self) -> AnswerReport:
        learner = self._learner()
        writer = self._writer_config(learner)
        tables = self._see(writer, learner)
        train_set, val_set = (
            self._usable(self.split.train, tables[0]),
            self._usable(self.split.val, tables[1]),
        )
        packer = self._packer(writer, learner)
        validation = self._validation(learner, packer, val_set, tables[1])
        run = self._prepare(learner, packer, train_set, tables[0], validation)
        problems = (*self.split.problems, *(one for table in tables for one in table.problems()))
        for problem in problems:
            logger.warning("left out: %s", problem)
        before = self._before(validation)
        open_best(run)
        try:
            losses = train(run)
        except TrainingDivergedError as error:
            losses = read_losses(self.config.out / "losses.jsonl")
            self._report(run, len(val_set), before, None, losses, problems, str(error))
            raise
        self._load_best(learner)
        return self._report(run, len(val_set), before, validation.judge(), losses, problems)

    def _learner(self) -> AnswerLearner:
        config, device = self.config, self.accelerator.device
        learner = AnswerLearner(load_stock(self.source), config.freeze_language, config.freeze_qformer)
        if config.freeze_language and device.type == "cuda":
            learner.language_model.to(torch.bfloat16)  # half of the memory; nothing of it is updated
        return learner.to(device)

    def _writer_config(self, learner: AnswerLearner) -> WriterConfig:
        return read_writer_config(self.source, reads_instruction=learner.reads_instruction)

    def _see(self, writer: WriterConfig, learner: AnswerLearner) -> tuple[PictureTable, PictureTable]:
        """Patches of the pictures that train and of those that measure."""
        config = self.config
        model = SeeingCheckpoint(self.source, writer.vision_config, str(self.accelerator.device))
        folder = config.cache or config.out / "cache"
        filler = Filler(folder, self.accelerator, config.batch_size, self.listener.on_progress)
        fillings = [
            filler.patches(model, distinct_pictures(examples))
            for examples in (self.split.train, self.split.val)
        ]
        size = writer_bytes(self.source, learner)
        needs = [*(one.need for one in fillings), *model_needs(config.out, learner, size)]
        for sentence in check_room(needs, ADVICE):
            if self.listener.on_remark is not None:
                self.listener.on_remark(sentence)
        config.out.mkdir(parents=True, exist_ok=True)
        return filler.fill(fillings[0]), filler.fill(fillings[1])

    def _usable(self, examples: Sequence[Example], table: PictureTable) -> list[tuple[Example, int]]:
        """Examples whose picture could be decoded, each with its row of the table.

        Raises:
            InputError: there is none.
        """
        written = set(table.rows(WRITTEN))
        rows = {picture.path: row for row, picture in enumerate(distinct_pictures(examples))}
        found = [(one, rows[one.picture.path]) for one in examples if rows[one.picture.path] in written]
        if not found:
            raise InputError(f"None of the {len(rows)} pictures could be decoded.")
        return found

    def _packer(self, writer: WriterConfig, learner: AnswerLearner) -> Packer:
        rows = int(learner.language_model.get_input_embeddings().num_embeddings)
        ends, pad = ends_and_pad(writer, learner.language_model.config, rows)
        positions = writer.qformer_config.max_position_embeddings
        reads = (self.source / QFORMER_TOKENIZER).is_dir() and self._reads_instruction()
        limit = min(LONGEST_INSTRUCTION, positions)
        return Packer(
            load_language_tokenizer(self.source, rows),
            load_tokenizer(self.source / QFORMER_TOKENIZER, limit, writer.qformer_config.vocab_size)
            if reads
            else None,
            image=int(writer.image_token_index or 0),
            queries=writer.num_query_tokens,
            end=ends[0],
            pad=pad,
            decoder_only=writer.decoder_only,
            text_limit=self.config.text_limit,
            answer_limit=self.config.answer_limit,
        )

    def _reads_instruction(self) -> bool:
        return str(read_config_json(self.source).get("model_type")) == "instructblip"

    def _validation(
        self, learner: AnswerLearner, packer: Packer, held: Sequence[tuple[Example, int]], table: PictureTable
    ) -> AnswerValidation:
        batches = self._batches(packer, held, table)
        firsts = [0] * len(held)
        return AnswerValidation(
            learner,
            lambda numbers: batches.pack(numbers, firsts[: len(numbers)]),
            len(held),
            self.accelerator.device,
        )

    def _batches(
        self, packer: Packer, examples: Sequence[tuple[Example, int]], table: PictureTable
    ) -> AnswerBatches:
        order = Order(
            [len(one.picture.captions) for one, _ in examples],
            self.config.batch_size, self.config.seed, int(self.accelerator.num_processes),
        )  # fmt: skip
        rows = [row for _, row in examples]
        return AnswerBatches([one for one, _ in examples], rows, table.view(range(len(table))), packer, order)

    def _prepare(
        self,
        learner: AnswerLearner,
        packer: Packer,
        examples: Sequence[tuple[Example, int]],
        table: PictureTable,
        validation: AnswerValidation,
    ) -> Run:
        config = self.config
        batches = self._batches(packer, examples, table)
        settings = self._settings([one for one, _ in examples])
        check_resumed(config.out, settings)
        per_epoch = batches.order.steps_per_epoch
        return Run(
            out=config.out,
            accelerator=self.accelerator,
            learner=learner,
            batches=batches,
            optimisation=Optimisation(
                config.lr, None, config.weight_decay, config.warmup, 0.0, config.clip_norm, config.seed
            ),
            steps=config.epochs * per_epoch,
            checkpoint_steps=config.checkpoint_steps or per_epoch,
            eval_steps=config.eval_every or max(LEAST_EVAL_STEPS, per_epoch),
            settings=settings,
            best=BestSoFar(
                config.out, settings, validation, lambda name, text: self._publish(learner, name, text)
            ),
            on_progress=self.listener.on_progress,
            on_step=self.listener.on_step,
        )

    def _publish(self, learner: AnswerLearner, name: str, text: str) -> None:
        trained = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        publish_writer(self.source, self.config.out, trained, {name: text})

    def _load_best(self, learner: AnswerLearner) -> None:
        names = [name for name, p in learner.named_parameters() if p.requires_grad]
        tensors = list_tensors(self.config.out)
        learner.load_state_dict(dict(read_tensors(tensors[name] for name in names)), strict=False)

    def _before(self, validation: AnswerValidation) -> Judged:
        """How good the model was that the run started from; kept, so that a resumed run need not find out."""
        kept = self.config.out / "before.json"
        if self.config.resume and kept.exists():
            return Judged(**json.loads(kept.read_text(encoding="utf-8")))
        judged = validation.judge()
        if self.accelerator.is_main_process:
            kept.write_text(json.dumps(vars(judged)), encoding="utf-8")
        return judged

    def _settings(self, examples: Sequence[Example]) -> dict[str, Any]:
        shared = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        lines = (f"{one.picture.name}\t{one.instruction}\t{one.picture.captions}" for one in examples)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        ranks = int(self.accelerator.num_processes)
        settings = {**shared, "ranks": ranks, "train_examples": len(examples), "train_data": digest}
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _report(
        self,
        run: Run,
        measured: int,
        before: Judged,
        after: Judged | None,
        losses: Sequence[dict[str, float]],
        problems: tuple[DataProblem, ...],
        message: str = "",
    ) -> AnswerReport:
        report = AnswerReport(
            state="done" if after else "diverged",
            out=str(self.config.out),
            settings=run.settings,
            examples=int(run.settings["train_examples"]),
            measured=self.split.measured,
            measured_examples=measured,
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
