"""What a run does where it was not told: by what its checkpoint brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightline import training
from sightline.blip.random_weights import small_config, write_random_checkpoint
from sightline.errors import InputError
from sightline.training.config import TrainConfig
from sightline.training.defaults import choose
from tests.training.runs import config

ALL = ("itc", "itm", "itg")


@pytest.mark.parametrize(
    ("wishes", "has_head", "expected"),
    [
        ({}, True, (ALL, 1e-5, 0.0)),
        ({}, False, (("itc", "itm"), 1e-5, 0.0)),
        ({"objectives": ALL}, False, (ALL, 1e-5, 0.0)),
        ({"fresh": "qformer"}, False, (ALL, 1e-4, 0.25)),
        ({"fresh": "all"}, True, (ALL, 1e-4, 0.25)),
        ({"fresh": "qformer", "lr": 3e-4, "hard_after": 0.0}, True, (ALL, 3e-4, 0.0)),
        ({"lr": 0.0, "hard_after": 0.5, "objectives": ("itm",)}, True, (("itm",), 0.0, 0.5)),
    ],
)
def test_rate_negatives_and_objectives_suit_the_checkpoint_unless_they_are_named(
    tmp_path: Path, wishes: dict[str, Any], has_head: bool, expected: tuple[Any, ...]
) -> None:
    if has_head:
        (tmp_path / "itg_head.safetensors").touch()
    wanted = replace(TrainConfig("some/model", tmp_path, tmp_path, tmp_path), **wishes)
    chosen = choose(wanted, tmp_path, can_decode=True)
    assert (chosen.objectives, chosen.optimisation.lr, chosen.optimisation.hard_after) == expected
    assert chosen.optimisation.warmup == 0.05
    left_out = wanted.objectives is None and "itg" not in chosen.objectives
    assert [
        one.startswith("Captions (ITG) are not trained, because some/model") for one in chosen.remarks
    ] == ([True] if left_out else [])


def test_captions_that_cannot_begin_are_left_out_and_refused_when_asked_for(tmp_path: Path) -> None:
    wanted = TrainConfig("some/model", tmp_path, tmp_path, tmp_path)
    (tmp_path / "itg_head.safetensors").touch()
    chosen = choose(wanted, tmp_path, can_decode=False)
    assert chosen.objectives == ("itc", "itm")
    assert "has no [DEC] token" in chosen.remarks[0]
    with pytest.raises(InputError, match=r"no \[DEC\] token and cannot learn captions; leave itg out"):
        choose(replace(wanted, objectives=ALL), tmp_path, can_decode=False)


def test_a_checkpoint_without_a_head_is_trained_without_captions_and_says_so(
    data: Path, tmp_path: Path
) -> None:
    checkpoint = write_random_checkpoint(tmp_path / "start", small_config())
    (checkpoint / "itg_head.safetensors").unlink()
    wanted = replace(config(checkpoint, data, tmp_path / "out"), epochs=1, eval_ks=())
    remarks: list[str] = []
    report = training.run(wanted, None, None, remarks.append)
    assert sorted({name for line in report.losses for name in line} & set(ALL)) == ["itc", "itm"]
    assert not (wanted.out / "itg_head.safetensors").exists()
    assert remarks[0].startswith("Captions (ITG) are not trained")
    assert remarks[1].startswith("Up to ")
    assert "patches of 13 pictures" in remarks[1]
    assert {line["hardness"] for line in report.losses} == {1.0}
