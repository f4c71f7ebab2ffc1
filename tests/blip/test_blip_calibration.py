"""A calibration is the formula that its module states, and its file is believed only when it makes sense."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.calibration import PLAIN, Calibration, parse
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.checkpoint_words import CALIBRATION, NOTE, note_on_disk, read_calibration, read_note
from sightline.blip.fingerprints import fingerprint
from sightline.errors import CheckpointError

PLATT = Calibration("platt", 1.25, -0.6, unknown=-5.0)
KNOTS = Calibration("isotonic", knots=((-2.0, 0.1), (0.0, 0.3), (4.0, 0.9)))


def logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


@pytest.mark.parametrize("difference", [-30.0, -1.5, 0.0, 0.7, 12.0])
def test_the_probability_is_the_formula(difference: float) -> None:
    assert PLAIN.probability(difference) == pytest.approx(logistic(difference))
    assert PLATT.probability(difference) == pytest.approx(logistic(difference / 1.25 - 0.6))
    knots = np.array(KNOTS.knots)
    assert KNOTS.probability(difference) == pytest.approx(np.interp(difference, knots[:, 0], knots[:, 1]))


@pytest.mark.parametrize("difference", [-1e6, -900.0, 900.0, 1e6])
def test_no_logits_are_too_large(difference: float) -> None:
    assert PLATT.probability(difference) == pytest.approx(float(difference > 0))


@pytest.mark.parametrize("calibration", [PLATT, KNOTS])
def test_what_is_known_of_a_query_adds_to_the_log_odds_of_all_its_pairs(calibration: Calibration) -> None:
    before = [calibration.probability(one) for one in (-1.0, 0.0, 2.0)]
    shifted = calibration.shifted(-3.0)
    after = [shifted.probability(one) for one in (-1.0, 0.0, 2.0)]
    gaps = [math.log(p / (1 - p)) - math.log(q / (1 - q)) for p, q in zip(before, after, strict=True)]
    assert gaps == pytest.approx([3.0] * 3)


def test_unknown_words_make_a_match_less_likely() -> None:
    assert PLATT.for_query(unknown=True).offset == -5.0
    assert PLATT.for_query(unknown=False) == PLATT
    assert PLATT.for_query(unknown=True).probability(2.0) == pytest.approx(logistic(2.0 / 1.25 - 0.6 - 5.0))


@pytest.mark.parametrize("calibration", [PLAIN, PLATT, KNOTS])
def test_log_odds_are_those_of_the_probability_and_go_on_where_it_saturates(calibration: Calibration) -> None:
    for difference in (-3.0, 0.1, 2.0):
        p = calibration.probability(difference)
        assert calibration.log_odds(difference) == pytest.approx(math.log(p / (1 - p)))
    if calibration.kind != "isotonic":
        assert calibration.log_odds(80.0) > calibration.log_odds(70.0)


@pytest.mark.parametrize("calibration", [PLAIN, PLATT, KNOTS])
def test_json_gives_the_same_back(calibration: Calibration) -> None:
    told = json.loads(json.dumps(calibration.shifted(-3.0).to_json()))
    assert parse(told) == calibration


BROKEN = {
    "another kind": {"kind": "beta"},
    "another field": {"kind": "platt", "slope": 2},
    "no temperature": {"kind": "platt", "temperature": 0},
    "a number as text": {"kind": "platt", "temperature": "1"},
    "no number": {"kind": "platt", "bias": math.nan},
    "truth for a number": {"kind": "platt", "bias": True},
    "without knots": {"kind": "isotonic"},
    "knots that fall": {"kind": "isotonic", "knots": [[0, 0.5], [1, 0.4]]},
    "knots at one place": {"kind": "isotonic", "knots": [[0, 0.4], [0, 0.5]]},
    "more than sure": {"kind": "isotonic", "knots": [[0, 0.4], [1, 1.5]]},
    "half a knot": {"kind": "isotonic", "knots": [[0], [1, 0.5]]},
    "knots of another kind": {"kind": "platt", "knots": [[0, 0.4]]},
    "likelier where unknown": {"kind": "platt", "unknown": 1},
    "a part of another version": {"kind": "platt", "spread": {"first": 9}},
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_what_makes_no_sense_is_refused_with_the_name_of_the_file(raw: object, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION).write_text(json.dumps({"calibration": raw}))
    with pytest.raises(CheckpointError, match=r"calibration\.json .*; fit it again, or remove it"):
        read_calibration(tmp_path)


@pytest.mark.parametrize(
    "content",
    ['{"calibrations": {}}', '{"known_words": {"least": 1}}', '{"known_words": {"least_norm": -1}}',
     '{"known_words": {"least_norm": "1"}}', '{"known_words": {"most_like_nonsense": 1.5}}',
     '{"known_words": []}', '{"calibration": 1}', "[]", "{", "version https://git-lfs.github.com/spec/v1"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION).write_text(content)
    with pytest.raises(CheckpointError, match=r"calibration\.json"):
        read_calibration(tmp_path)


def test_without_a_file_the_softmax_is_the_probability(tmp_path: Path) -> None:
    assert read_calibration(tmp_path).calibration == PLAIN
    assert read_note(tmp_path) is None
    assert note_on_disk("Salesforce/blip2-itm-vit-g") is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 3000, b"\x1b[31mred"])
def test_a_note_that_is_no_short_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NOTE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"note\.txt"):
        read_note(tmp_path)


def test_collections_stay_bound_when_a_checkpoint_is_calibrated(tmp_path: Path) -> None:
    folder = shutil.copytree(DEMO_FOLDER, tmp_path / "model")
    before = fingerprint(folder)
    (folder / CALIBRATION).unlink()
    (folder / NOTE).unlink()
    assert fingerprint(folder) == before


def test_the_demo_model_says_that_it_knows_no_photos() -> None:
    said = note_on_disk("demo")
    assert said is not None
    assert "drawn pictures" in said
    assert "photos" in said
    assert note_on_disk("toy") is None
