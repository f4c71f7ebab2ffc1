"""Match probabilities that were fitted to labels or captions are those of every answer from then on."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sightline.errors import InputError, NotFoundError
from sightline.records import SearchRequest
from sightline.rerank_records import RerankRequest, StoredImage
from sightline.upkeep.calibration_labels import Label, read_labels
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
PAIRS = [(left, right) for left in COLOURS for right in COLOURS if left != right]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty, each of two colours, with captions beside them."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for left, right in PAIRS:
        path = save(folder, f"{left}-{right}", left, right)
        rows.append({"id": path.name, "uri": str(path), "caption": f"{left} left {right} right"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def services(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        index(services, pictures / "manifest.jsonl")
        yield services


def labels() -> list[Label]:
    """Of every two colours: which pictures show them at those places; one label in six is wrong."""
    return [
        Label(f"{left} left {right} right", f"{one}-{other}.png", ((left, right) == (one, other)) != wrong)
        for row, (left, right) in enumerate(PAIRS)
        for column, (one, other) in enumerate(PAIRS)
        if column == row or (column * 7 + row) % 5 == 0
        for wrong in [(row + column) % 6 == 0]
    ]


def found(services: Installation, least: float | None = None) -> Mapping[str, tuple[float, float, float]]:
    """Score, probability and softmax of each hit, by id, in order."""
    request = SearchRequest("pictures", "red left blue right", limit=30, min_probability=least)
    return {
        hit.id: (hit.score, hit.match_probability or 0.0, hit.match_probability_raw or 0.0)
        for hit in services.search.find(request).results
    }


def silent(stage: str, done: int, total: int) -> None:
    return None


def test_a_fit_by_labels_serves_everywhere_until_it_is_reset(services: Installation) -> None:
    before = found(services)
    report = services.calibrating.fit("pictures", labels(), silent)
    assert (report.version, report.kind) == (1, "platt")
    assert report.ece_after < report.ece_before == report.ece_raw
    after = found(services)
    temperature, bias = report.parameters["temperature"], report.parameters["bias"]
    assert isinstance(temperature, float)
    assert isinstance(bias, float)
    assert [(name, one[0]) for name, one in after.items()] == [(name, one[0]) for name, one in before.items()]
    for name, (_, said, raw) in after.items():
        assert raw == before[name][1] == before[name][2]
        odds = math.log(raw / (1 - raw)) / temperature + bias
        assert said == pytest.approx(1 / (1 + math.exp(-odds)))
    bound = sorted(said for _, said, _ in after.values())[20]
    assert list(found(services, bound)) == [name for name, one in after.items() if one[1] >= bound]
    documents = tuple(StoredImage("pictures", name) for name in after)
    reranked = services.documents.rerank(RerankRequest("red left blue right", documents))
    assert {list(after)[one.index]: one.match_probability for one in reranked.results} == pytest.approx(
        {name: one[1] for name, one in after.items()}, abs=1e-6
    )
    assert services.calibrating.reset("pictures") == 2
    assert found(services) == before


def test_a_fit_that_is_no_better_does_not_serve(services: Installation) -> None:
    services.calibrating.fit("pictures", labels(), silent)
    turned = [Label(one.query, one.image, number % 3 > 0) for number, one in enumerate(labels()[:60])]
    for some in (labels()[::2], turned):
        before = found(services)
        try:
            report = services.calibrating.fit("pictures", some, silent)
        except InputError:  # nothing to learn from
            assert found(services) == before
        else:
            assert (report.version is None) == (report.ece_after > report.ece_before)
            assert (found(services) == before) == (report.version is None)
    services.calibrating.reset("pictures")


def test_captions_stand_in_for_labels_and_the_report_says_so(services: Installation) -> None:
    report = services.calibrating.fit("pictures", None, silent)
    assert "30 captions of the collection" in report.how
    assert "100 texts of random letters" in report.how
    assert report.fitted_right + report.held_out_right == 30
    assert report.ece_after <= report.ece_raw
    services.calibrating.reset("pictures")


def test_a_label_of_a_picture_that_is_not_there_is_refused(services: Installation) -> None:
    with pytest.raises(NotFoundError, match="gone\\.png"):
        services.calibrating.fit("pictures", [Label("red", "gone.png", True)], silent)
    with pytest.raises(InputError, match="at least 10 of each"):
        services.calibrating.fit("pictures", labels()[:8], silent)


REFUSED = {
    "nothing": ("", "names no column query"),
    "another column": ("query,image\nred,a.png\n", "names no column relevant"),
    "no number": ("query,image,relevant\nred,a.png,yes\n", "Line 2 .* write 0 or 1"),
    "no text": ("query,image,relevant\n,a.png,1\n", "Line 2 .* no text for query"),
    "no JSON": ('{"query": "red", "image": "a", "relevant": 1}\n{"query"', "Line 2 .* is not JSON"),
    "no object": ('{"query": "red", "image": "a", "relevant": 1}\n[1]', "Line 2 .* no JSON object"),
    "both": ("query,image,relevant\nred,a,1\nred,a,0\n", "both 0 and 1"),
    "a header alone": ("query,image,relevant\n", "holds no labels"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_labels_that_cannot_be_read_are_refused_by_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(content)
    with pytest.raises(InputError, match=said):
        read_labels(tmp_path / "labels")


def test_labels_are_read_from_both_forms(tmp_path: Path) -> None:
    told = [Label("red, left", "ä b.png", True), Label("blue", "c.png", False)]
    rows = [{"query": one.query, "image": one.image, "relevant": int(one.relevant)} for one in told]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["relevant", "query", "image"])
        writer.writeheader()
        writer.writerows(rows)
    assert read_labels(tmp_path / "labels.jsonl") == read_labels(tmp_path / "labels.csv") == told


def test_the_command_fits_draws_and_goes_back(sightline: Run, pictures: Path, tmp_path: Path) -> None:
    assert sightline("index", str(pictures / "manifest.jsonl"), "-c", "here").code == 0
    lines = [{"query": one.query, "image": one.image, "relevant": int(one.relevant)} for one in labels()]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ("calibrate", "-c", "here", "--labels", str(tmp_path / "labels.jsonl"))
    report = sightline(*arguments, "--plot", str(tmp_path / "plot.png"), "--json").answer
    assert report["version"] == 1
    assert report["held_out_pairs"] + report["fitted_pairs"] == len(lines)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    told = sightline(*arguments)
    assert "Calibration error on" in told.stdout
    assert "labels of 30 queries" in told.stderr
    assert sightline("calibrate", "-c", "here", "--reset", "--json").answer["kind"] == "default"
    assert (
        sightline("calibrate", "-c", "here", "--reset", "--labels", str(tmp_path / "labels.jsonl")).code == 2
    )


@pytest.mark.parametrize("command", [("calibrate", "--plot"), ("generations", "report", "--out")])
@pytest.mark.parametrize(("place", "told"), [("nowhere/it.png", "There is no folder"), (".", "is a folder")])
def test_a_drawing_that_could_not_be_written_is_refused_before_the_work(
    sightline: Run, tmp_path: Path, command: tuple[str, ...], place: str, told: str
) -> None:
    """The collection does not exist: whoever begins the work says that."""
    *name, option = command
    ended = sightline(*name, "--collection", "none", option, str(tmp_path / place))
    assert (ended.code, ended.stdout) == (2, "")
    assert told in ended.stderr
