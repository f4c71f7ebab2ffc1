"""Recall on the validation pictures, before and after."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.blip.blip2 import Blip2
from sightline.evaluation.config import EvalConfig
from sightline.evaluation.data import retrieval_set
from sightline.evaluation.evaluator import evaluate_table
from sightline.evaluation.report import EvalReport
from sightline.evaluation.tables import PictureTable
from sightline.training.config import TrainConfig
from sightline.training.data import Split
from sightline.training.prepare import Filler
from sightline.types import OnProgress


@dataclass(frozen=True)
class Measure:
    """Measures models on the pictures that do not train."""

    config: TrainConfig
    split: Split
    filler: Filler
    on_progress: OnProgress | None = None

    def before(self, folder: Path, table: PictureTable) -> EvalReport:
        """Recall of where the run starts from; kept, so that a resumed run need not measure it again."""
        kept = self.config.out / "before.json"
        if self.config.resume and kept.exists():
            return EvalReport.from_json(json.loads(kept.read_text(encoding="utf-8")))
        report = self._evaluate(self._load(folder), table, self.config.model)
        if self.filler.accelerator.is_main_process:
            aside = kept.with_suffix(".new")
            aside.write_text(json.dumps({**report.to_json(), **_ranks(report)}), encoding="utf-8")
            os.replace(aside, kept)
        return report

    def after(self, table: PictureTable) -> EvalReport:
        """Recall of the folder that was published; a trained image encoder sees the pictures anew."""
        model = self._load(self.config.out)
        if self.config.freeze_vision:
            return self._evaluate(model, table, str(self.config.out))
        seen = self.filler.fill(self.filler.patches(model, self.split.val))
        return self._evaluate(model, seen, str(self.config.out))

    def _load(self, folder: Path) -> Blip2:
        return Blip2(folder, device=str(self.filler.accelerator.device))

    def _evaluate(self, model: Blip2, table: PictureTable, name: str) -> EvalReport:
        config = self.config
        dataset = retrieval_set(self.split.name, self.split.measured, self.split.val, config.text)
        wanted = EvalConfig(config.data, config.images, name, config.eval_ks, text=config.text)
        return evaluate_table(model, table, dataset, wanted, (), self.on_progress)


def _ranks(report: EvalReport) -> dict[str, Any]:
    """What a comparison with a later report needs."""
    return {"answers": report.answers.to_json() if report.answers else None}
