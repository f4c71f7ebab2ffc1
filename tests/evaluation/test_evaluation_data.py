"""Both data formats: what is used, under which split, and what is listed as left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.errors import InputError
from sightline.evaluation.data import prepare_text, read_pictures, retrieval_set


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def karpathy(folder: Path) -> Path:
    def entry(name: str, split: str, *raw: str) -> dict[str, object]:
        sentences = [{"raw": text, "tokens": text.split()} for text in raw]
        return {"filename": name, "filepath": "val2014", "split": split, "sentences": sentences}

    images = [
        entry("a.jpg", "test", "A dog .", "A brown dog ."),
        entry("b.jpg", "restval", "A cat ."),
        entry("c.jpg", "test", "A bird ."),
        entry("gone.jpg", "test", "Nothing ."),
        {"filename": "d.jpg"},
    ]
    path = folder / "dataset_coco.json"
    path.write_text(json.dumps({"dataset": "coco", "images": images}))
    return path


def test_karpathy_json_is_read_with_restval_as_train(tmp_path: Path) -> None:
    touch(tmp_path / "images", "val2014/a.jpg", "val2014/b.jpg", "c.jpg")  # c.jpg: a flattened folder
    data = read_pictures(karpathy(tmp_path), tmp_path / "images")
    assert data.name == "coco"
    assert [(p.name, p.split, p.captions) for p in data.pictures] == [
        ("val2014/a.jpg", "test", ("A dog .", "A brown dog .")),
        ("val2014/b.jpg", "train", ("A cat .",)),
        ("val2014/c.jpg", "test", ("A bird .",)),
    ]
    assert [(p.where, p.reason) for p in data.problems] == [
        ("val2014/gone.jpg", "missing"),
        ("images[4]", "row"),
    ]


def test_split_defaults_to_test_then_val_then_everything(tmp_path: Path) -> None:
    touch(tmp_path / "images", "val2014/a.jpg", "val2014/b.jpg", "val2014/c.jpg")
    data = read_pictures(karpathy(tmp_path), tmp_path / "images")
    assert [len(pictures) for _, pictures in (data.of_split(None), data.of_split("all"))] == [2, 3]
    assert data.of_split(None)[0] == "test"
    with pytest.raises(InputError, match="no pictures of the split 'val'; its splits are: test, train"):
        data.of_split("val")


def test_captions_jsonl_lists_what_it_skips(tmp_path: Path) -> None:
    touch(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    lines = [
        '{"image": "images/a.jpg", "captions": ["one", " "], "split": "val"}',
        '{"image": "images/b.jpg", "caption": "two"}',
        "{broken",
        '{"image": "images/c.jpg", "captions": []}',
        '{"captions": ["no picture"]}',
        '{"image": "images/none.jpg", "captions": ["three"]}',
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines) + "\n\n")
    data = read_pictures(tmp_path / "captions.jsonl", tmp_path)
    assert [(p.name, p.captions) for p in data.pictures] == [
        ("images/a.jpg", ("one",)),
        ("images/b.jpg", ("two",)),
    ]
    assert [(p.where, p.reason) for p in data.problems] == [
        ("images/a.jpg", "caption"),
        ("line 3", "row"),
        ("images/c.jpg", "caption"),
        ("line 5", "row"),
        ("images/none.jpg", "missing"),
    ]


def test_a_file_without_usable_pictures_is_refused_with_its_first_problem(tmp_path: Path) -> None:
    (tmp_path / "captions.jsonl").write_text('{"image": "a.jpg", "captions": ["one"]}\n')
    with pytest.raises(InputError, match=r"holds no picture.*a\.jpg: missing"):
        read_pictures(tmp_path / "captions.jsonl", tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_pictures(tmp_path / "nothing.jsonl", tmp_path)


def test_a_file_that_is_not_there_is_one_sentence_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_pictures(tmp_path / "none.jsonl", tmp_path)
    assert str(caught.value) == f"{tmp_path}/none.jsonl cannot be read as text: No such file or directory."


def test_lavis_text_handling_lowers_strips_and_cuts() -> None:
    assert prepare_text('A "Dog" (small)  runs; fast!\n', "lavis") == "a dog small runs fast"
    assert prepare_text("Don't stop, Mr. X", "lavis") == "don't stop, mr x"
    assert prepare_text(" ".join(["word"] * 60), "lavis") == " ".join(["word"] * 50)
    assert prepare_text("A Dog !", "transformers") == "A Dog !"


def test_every_caption_is_a_text_and_leaving_out_a_picture_renumbers(tmp_path: Path) -> None:
    touch(tmp_path / "images", "val2014/a.jpg", "val2014/b.jpg", "val2014/c.jpg")
    data = read_pictures(karpathy(tmp_path), tmp_path / "images")
    dataset = retrieval_set(data.name, "all", data.pictures)
    assert dataset.texts == ("a dog", "a brown dog", "a cat", "a bird")
    assert dataset.image_of_text.tolist() == [0, 0, 1, 2]
    kept = dataset.keep([0, 2])
    assert (kept.texts, kept.image_of_text.tolist()) == (("a dog", "a brown dog", "a bird"), [0, 0, 1])
