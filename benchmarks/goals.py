"""What ``make bench`` is to reach, by class of machine, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Sense = Literal["at least", "at most", "within"]
"""``within``: the size of it, whatever its sign, is at most the bound."""
Word = Literal["passed", "missed", "not measured"]
_SIGNS: Mapping[Sense, str] = {"at least": "≥ ", "at most": "≤ ", "within": "± "}


@dataclass(frozen=True)
class Goal:
    """One figure's. Bounds for 2 cores with AVX2, and for 2 cores with AVX-512 and bf16."""

    figure: str
    what: str
    avx2: float
    avx512_bf16: float
    unit: str = ""
    sense: Sense = "at least"

    def bound(self, goals: str) -> float:
        """For a class of ``machine.Processor.goals``."""
        return self.avx512_bf16 if goals == "avx512_bf16" else self.avx2


@dataclass(frozen=True)
class Verdict:
    """What became of a goal. ``value`` is None where it was not measured."""

    goal: Goal
    bound: float
    value: float | None

    @property
    def word(self) -> Word:
        """Passed, missed or not measured."""
        if self.value is None:
            return "not measured"
        if self.goal.sense == "at least":
            return "passed" if self.value >= self.bound else "missed"
        size = abs(self.value) if self.goal.sense == "within" else self.value
        return "passed" if size <= self.bound else "missed"


GOALS = (
    Goal("rerank_vs_lavis_loop", "rerank 100, `auto`, against the LAVIS loop in fp32", 6, 10, "×"),
    Goal("rerank_full_vs_lavis_loop", "the same with `full`", 4, 7, "×"),
    Goal("auto_top10", "`auto`, int8 and cascade: top-10 overlap with fp32 `full`", 0.97, 0.97),
    Goal("auto_r1_change", "`auto`: change of R@1", 0.005, 0.005, sense="within"),
    Goal("cascade_top10", "the cascade alone: top-10 overlap", 0.98, 0.98),
    Goal("cascade_r1_change", "the cascade alone: change of R@1", 0.005, 0.005, sense="within"),
    Goal("int8_tau", "int8 alone: Kendall τ", 0.98, 0.98),
    Goal("embed_vs_stock", "embed, against stock fp32", 1.8, 3, "×"),
    Goal("blip_vs_stock", "BLIP ITM from cached patches, against stock from pixels", 20, 20, "×"),
    Goal("rerank_memory_mb", "peak memory of reranking 100, beyond the weights", 400, 400, " MB", "at most"),
    Goal("scale_200k_recall100", "a search among 200,000 images: recall@100", 0.99, 0.99),
    Goal("scale_200k_recall10", "the same: recall@10", 0.97, 0.97),
    Goal("scale_200k_hard_recall100", "without redundancy within images: recall@100", 0.99, 0.99),
    Goal("scale_200k_hard_recall10", "the same: recall@10", 0.97, 0.97),
    Goal("scale_200k_p50_ms", "a search among 200,000 images: CPU, median", 6, 6, " ms", "at most"),
    Goal("scale_200k_vs_flat", "the same, against the flat scan", 15, 15, "×"),
    Goal("scale_filter_ratio", "filters of 1, 10, 50 %, 30 % deleted: time, the worst", 2, 2, "×", "at most"),
    Goal("scale_filter_recall", "the same: recall@100, the worst", 0.99, 0.99),
)
MILLION_GOALS = (
    Goal("scale_1m_recall100", "a search among 1,000,000 images: recall@100", 0.99, 0.99),
    Goal("scale_1m_recall10", "the same: recall@10", 0.97, 0.97),
    Goal("scale_1m_hard_recall100", "without redundancy within images: recall@100", 0.99, 0.99),
    Goal("scale_1m_hard_recall10", "the same: recall@10", 0.97, 0.97),
    Goal("scale_1m_p50_ms", "a search among 1,000,000 images: CPU, median", 10, 10, " ms", "at most"),
    Goal("scale_1m_p95_ms", "the same: CPU, 95 of 100", 25, 25, " ms", "at most"),
    Goal("scale_1m_rss_gb", "memory beyond the page cache", 3, 3, " GB", "at most"),
    Goal("scale_1m_first_s", "the first answer of a process after opening", 1, 1, " s", "at most"),
    Goal("scale_1m_build_s", "building the index", 3600, 3600, " s", "at most"),
)
"""Of ``make bench-scale``."""


def judge(figures: Mapping[str, float], goals: str, of: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Every goal of a class."""
    return [Verdict(one, one.bound(goals), figures.get(one.figure)) for one in of]


def as_json(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float | str | None]]:
    """By figure."""
    return {
        one.goal.figure: {
            "sense": one.goal.sense,
            "bound": one.bound,
            "value": one.value,
            "verdict": one.word,
        }
        for one in verdicts
    }


def table(verdicts: Sequence[Verdict], kind: str) -> str:
    """As Markdown, for a class in words."""
    lines = [f"## Goals: {kind}", "", "| | figure | goal | measured | |", "|---|---|---|---|---|"]
    for one in verdicts:
        value = "" if one.value is None else f"{one.value:.3g}{one.goal.unit}"
        bound = f"{_SIGNS[one.goal.sense]}{one.bound:g}{one.goal.unit}"
        lines.append(f"| {one.goal.what} | `{one.goal.figure}` | {bound} | {value} | {one.word} |")
    return "\n".join(lines) + "\n"
