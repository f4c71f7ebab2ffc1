"""Captions, filtering and texts from the command line; the jobs are worked off in this process."""

from __future__ import annotations

import json
from pathlib import Path

from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.captioner.conftest import COLLECTION, QUARTERS, index, said, texts, written
from tests.indexer.world import shared_decoder
from tests.sightline.conftest import Run, processes_of


def work_off(settings: Settings) -> None:
    with open_installation(settings, decoder=shared_decoder(), inline=True) as services:
        services.indexer.run_pending()


def test_picture_files_are_described(sightline: Run, folder: Path) -> None:
    files = [str(folder / f"{name}.png") for name in QUARTERS]
    done = sightline("caption", *files, "--n", "2", "--json")
    assert done.code == 0, done.stderr
    assert [row["image"] for row in done.answer["results"]] == files
    found = [[one["text"] for one in row["captions"]] for row in done.answer["results"]]
    assert found == [written(quarters, 2) for quarters in QUARTERS.values()]
    assert "red top left" in sightline("caption", files[0], "--sampling", "greedy").stdout
    assert sightline("caption", str(folder / "nothing.png")).code == 2
    half = folder / "half.png"
    half.write_bytes(Path(files[0]).read_bytes()[:60])
    assert str(half) in sightline("caption", files[1], str(half)).stderr, "which of them is broken"


WRONG = [
    (["caption"], 2, "Name picture files"),
    (["caption", "a.png", "-c", "pictures"], 2, "Name picture files"),
    (["caption", "a.png", "--no-wait"], 2, "about a collection"),
    (["caption", "-c", "nowhere"], 3, "no collection"),
    (["caption", "-c", "pictures", "--n", "0"], 2, "1 to 20 captions"),
    (["caption", "-c", "pictures", "--sampling", "greedy", "--n", "2"], 2, "Greedy"),
    (["caption", "-c", "pictures", "--filter", "{", "--no-wait"], 2, "JSON"),
    (["caption", "-c", "pictures", "--seed", "-1", "--no-wait"], 2, "seed"),
    (["capfilt", "-c", "pictures", "--precision", "0.9"], 2, "go together"),
    (["capfilt", "-c", "pictures", "--text-field", "a..b", "--no-wait"], 2, "empty name"),
    (["texts", "list", "-c", "pictures", "--verdict", "good"], 2, "A verdict is one of"),
    (["texts", "keep", "-c", "pictures", "999"], 3, "There is no text 999 in this collection."),
    (["texts", "drop", "-c", "pictures", "999", "0", "999"], 3, "There are no texts 0, 999 in this"),
    (["texts", "withdraw", "-c", "nowhere", "1"], 3, "no collection"),
    (["texts", "export", "-c", "pictures", "out", "--format", "csv"], 2, "format"),
    (["texts", "export", "-c", "pictures", "out"], 2, "no texts that are kept"),
]


def test_what_makes_no_sense_is_said_in_a_sentence(sightline: Run, indexed: Settings) -> None:
    for arguments, code, sentence in WRONG:
        done = sightline(*arguments)
        assert (done.code, sentence in done.stderr) == (code, True), (arguments, done.stderr)


def test_the_life_of_the_texts_of_a_collection(
    sightline: Run, settings: Settings, indexed: Settings, tmp_path: Path
) -> None:
    begun = sightline("caption", "-c", COLLECTION, "--no-wait", "--json")
    assert (begun.code, begun.answer["pending"], begun.answer["kind"]) == (0, 3, "caption")
    assert processes_of(settings) == []
    work_off(settings)
    assert sightline("jobs", begun.answer["job"], "--json").answer["processed"] == 3

    rows = [
        {"image": "a", "text": "red top left", "right": True},
        {"image": "a", "text": "orange top left", "right": False},
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ("--precision", "1", "--labels", str(tmp_path / "labels.jsonl"), "--text-field", "alt")
    begun = sightline("capfilt", "-c", COLLECTION, "--no-wait", *given)
    assert begun.code == 0, begun.stderr
    assert "of 2 labels 1 are, 100.0% of them right" in begun.stderr
    work_off(settings)

    report = sightline("texts", "report", "-c", COLLECTION, "--out", str(tmp_path / "report"))
    assert {"given", "metadata.alt", "captioner", "Dropped, for example:"} <= {
        word for line in report.stdout.splitlines() for word in ([*line.split()[:1], line.strip()])
    }
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["histogram.png", "report.json"]

    listed = sightline("texts", "list", "-c", COLLECTION, "--verdict", "dropped", "--json").answer["items"]
    [wrong] = [one for one in listed if one["text"] == "red bottom left"]
    assert "red bottom left" in sightline("texts", "list", "-c", COLLECTION, "--contains", "bottom").stdout
    assert sightline("texts", "keep", "-c", COLLECTION, str(wrong["id"])).code == 0
    overruled = sightline("texts", "list", "-c", COLLECTION, "--overruled", "--json").answer["items"]
    assert [(one["text"], one["verdict"]) for one in overruled] == [("red bottom left", "kept")]

    out = tmp_path / "cleaned.jsonl"
    done = sightline("texts", "export", "-c", COLLECTION, str(out), "--json")
    assert (done.code, done.answer["images"]) == (0, 3)
    exported = {row["id"]: row["captions"] for row in map(json.loads, out.read_text().splitlines())}
    assert "red bottom left" in exported["a"]
    assert "green top left" not in exported["b"]
    assert sightline("texts", "export", "-c", COLLECTION, str(out)).code == 2

    assert sightline("texts", "withdraw", "-c", COLLECTION, str(wrong["id"])).code == 0
    with open_installation(settings, decoder=shared_decoder(), inline=True) as services:
        assert said(services, "captioner") == {name: written(q, 1) for name, q in QUARTERS.items()}
        assert not any(one.overruled for some in texts(services).values() for one in some)


def test_an_unknown_number_keeps_no_text_from_being_decided_about(
    sightline: Run, services: Installation, folder: Path
) -> None:
    index(services, folder)
    first, last = (one.id for some in texts(services).values() for one in some)
    numbers = [str(one) for one in (first, 998, last, first, 999)]
    done = sightline("texts", "keep", "-c", COLLECTION, *numbers)
    assert (done.code, done.stdout) == (1, "2 kept\n")
    assert "There are no texts 998, 999 in this collection." in done.stderr
    assert {one.verdict for some in texts(services).values() for one in some} == {"kept"}
    done = sightline("texts", "withdraw", "-c", COLLECTION, "998", *numbers[2:4], "--json")
    assert done.code == 1
    assert (done.answer["texts"], done.answer["not_found"]) == ([last, first], [998])
    assert not any(one.overruled for some in texts(services).values() for one in some)
    assert sightline("texts", "drop", "-c", COLLECTION, str(last)).code == 0
