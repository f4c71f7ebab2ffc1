"""`rank` and `predict` order pictures by the scores of the contract, whatever form the pictures come in."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.blip.toy import ToyEncoder, ToyMatcher
from sightline.errors import ImageRejected, InputError, UnavailableError
from sightline.imaging.files import read_regular, read_within
from sightline.reranker import Reranker

RED, BLUE, PURPLE, WHITE = (255, 0, 0), (0, 0, 255), (128, 0, 128), (255, 255, 255)


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    image = np.empty((8, 8, 3), np.uint8)
    image[:, :4], image[:, 4:] = left, right
    return image


def random_pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (2, 2, 3), np.uint8).repeat(3, 0).repeat(3, 1) for _ in range(count)]


def judged_alone(text: str, image: np.ndarray) -> tuple[float, float, float]:
    """(ITM logit, match probability, ITC) of one pair, straight from the model and the textbook."""
    toy = ToyEncoder()
    patches = toy.encode_patches(toy.preprocess([image]))
    no, yes = toy.match([text], patches)[0].tolist()
    cosines = [float(token @ toy.encode_text([text])[0]) for token in toy.encode_image(patches)[0]]
    return yes, math.exp(yes) / (math.exp(no) + math.exp(yes)), max(cosines)


@pytest.fixture
def reranker() -> Reranker:
    toy = ToyEncoder()
    return Reranker(toy, encoder=toy, batch_size=4)


def test_itm_overturns_the_order_of_itc(reranker: Reranker) -> None:
    mixture, parts = halves(PURPLE, PURPLE), halves(RED, BLUE)
    by_itc = reranker.rank("red blue", [parts, mixture], score="itc")
    by_itm = reranker.rank("red blue", [parts, mixture])
    assert [image.index for image in by_itc] == [1, 0]
    assert [image.index for image in by_itm] == [0, 1]
    # from the formulas of the toy: logits (2/3, 4), ITC 4/5
    assert by_itm[0].itm_logit == pytest.approx(4)
    assert by_itm[0].match_probability == pytest.approx(1 / (1 + math.exp(2 / 3 - 4)))
    assert by_itm[0].itc == pytest.approx(0.8)
    assert by_itm[0].score == pytest.approx(4.8)


@pytest.mark.parametrize("score", ["itm+itc", "itm", "itc"])
def test_every_image_gets_the_scores_of_its_own_pair_in_falling_order(reranker: Reranker, score: str) -> None:
    images = random_pictures(11)
    ranked = reranker.rank("a blue and yellow thing", images, score=score)  # type: ignore[arg-type]
    assert sorted(image.index for image in ranked) == list(range(11))
    assert [image.score for image in ranked] == sorted((image.score for image in ranked), reverse=True)
    for image in ranked:
        logit, probability, itc = judged_alone("a blue and yellow thing", images[image.index])
        assert (image.itm_logit, image.match_probability, image.itc) == pytest.approx(
            (logit, probability, itc), abs=1e-6
        )
        expected = {"itm": logit, "itc": itc, "itm+itc": logit + itc}[score]
        assert image.score == pytest.approx(expected, abs=1e-6)


def test_top_k_is_the_head_of_the_whole_order_and_ties_go_by_index(reranker: Reranker) -> None:
    images = random_pictures(9)
    images[7] = images[2]
    whole = reranker.rank("red", images)
    assert reranker.rank("red", images, top_k=3) == whole[:3]
    places = [image.index for image in whole]
    assert places.index(7) == places.index(2) + 1


def test_paths_bytes_pillow_images_and_arrays_are_one_picture(reranker: Reranker, tmp_path: Path) -> None:
    array = random_pictures(1)[0]
    picture = Image.fromarray(array)
    path = tmp_path / "picture.png"
    picture.save(path)
    forms = [str(path), path, path.read_bytes(), picture, Image.open(path), array]
    ranked = reranker.rank("green", forms)
    assert [image.index for image in ranked] == list(range(6))
    assert len({(image.score, image.itm_logit, image.itc) for image in ranked}) == 1


def test_pillow_images_are_turned_upright_as_files_are(reranker: Reranker) -> None:
    lying = Image.fromarray(halves(RED, BLUE))
    exif = lying.getexif()
    exif[0x0112] = 3  # upside down: what is stored left is shown right
    file = BytesIO()
    lying.save(file, "PNG", exif=exif)
    upright, turned = halves(RED, BLUE), halves(BLUE, RED)
    text = "red right and blue left"
    forms = [file.getvalue(), Image.open(BytesIO(file.getvalue())), turned, upright]
    scores = {image.index: image.score for image in reranker.rank(text, forms)}
    assert scores[0] == scores[1] == scores[2] > scores[3]


def test_match_probabilities_come_in_the_order_of_the_pairs(reranker: Reranker) -> None:
    images = random_pictures(7)
    texts = ["red", "blue top", "a green dog"]
    rng = np.random.default_rng(0)
    pairs = [(texts[rng.integers(3)], images[rng.integers(7)]) for _ in range(40)]
    expected = [judged_alone(text, image)[1] for text, image in pairs]
    found = reranker.predict(pairs)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


class CountingToy(ToyEncoder):
    """The toy, and how often it was asked what."""

    def __init__(self) -> None:
        self.encoded: list[int] = []
        self.matched: list[tuple[str, int]] = []

    def encode_patches(self, pixels: torch.Tensor) -> torch.Tensor:
        self.encoded.append(len(pixels))
        return super().encode_patches(pixels)

    def match(self, texts: list[str], patches: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.matched.append((texts[0], len(patches)))
        return super().match(texts, patches)


def test_pairs_of_one_text_go_together_and_a_picture_is_encoded_once(tmp_path: Path) -> None:
    paths = []
    for number, image in enumerate(random_pictures(3)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    toy = CountingToy()
    pairs = [(text, path) for path in paths for text in ("red", "blue")]
    Reranker(toy, encoder=toy, batch_size=8).predict([*pairs, ("red", paths[0])])
    assert toy.matched == [("red", 4), ("blue", 3)]
    assert toy.encoded == [3]


def test_no_batch_is_larger_than_the_batch_size() -> None:
    toy = CountingToy()
    Reranker(toy, encoder=toy, batch_size=4).rank("red", random_pictures(10))
    assert toy.encoded == [4, 4, 2]


@pytest.mark.parametrize(
    ("text", "images", "message"),
    [
        ("", [halves(RED, RED)], "text is empty"),
        (" \n", [halves(RED, RED)], "text is empty"),
        (5, [halves(RED, RED)], "text must be a string"),
        ("red", [], "no images"),
        ("red", "picture.png", "Pass a list"),
        ("red", b"bytes", "Pass a list"),
        ("red", halves(RED, RED), "Pass a list"),
        ("red", 7, "Pass a list"),
        ("red", ["https://example.org/a.png"], "Image 0: URLs are not fetched"),
        ("red", [halves(RED, RED), "data:image/png;base64,AAAA"], "Image 1: URLs are not fetched"),
        ("red", ["s3://bucket/a.png"], "URLs are not fetched"),
        ("red", {"image": "picture.png"}, "Pass a list"),
        ("red", BytesIO(b"bytes"), "Pass a list"),
        ("red", torch.zeros(3, 8, 8), "Pass a list"),
        ("red", [None], "must be a path, bytes, a file, a PIL image, an array or a tensor, not NoneType"),
        ("red", [{"text": "a"}], "Image 0: A row must have its picture under image, bytes or path"),
        ("red", [StringIO("text")], "opened in binary mode"),
        ("red", [halves(RED, RED).astype(np.float32)], r"uint8 \[height, width, 3\], not float32"),
        ("red", [halves(RED, RED)[:, :, :2]], r"uint8 \[height, width, 3\], not uint8 \[8, 8, 2\]"),
        ("red", [torch.zeros(8, 8, 3)], r"\[3, height, width\], .* not float32 \[8, 8, 3\]"),
        ("red", [torch.zeros(3, 8, 8, dtype=torch.int64)], "of uint8 or of floats"),
        (
            "red",
            [torch.full((3, 8, 8), 1.5)],
            r"in \[0, 1\], before any normalising; these reach from 1.5 to",
        ),
        ("red", [torch.full((3, 8, 8), math.nan)], r"in \[0, 1\], before any normalising"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_a_sentence(
    reranker: Reranker, text: object, images: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        reranker.rank(text, images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("/nowhere/a.png", "unreadable"),
        ("a\0b", "unreadable"),
        ("half a letter \ud800", "unreadable"),
        ("x" * 300, "unreadable"),
        (b"no picture", "not_an_image"),
        (Image.new("RGB", (0, 5)), "empty"),
        (Image.new("L", (5, 0)), "empty"),
    ],
)
def test_a_picture_that_cannot_be_decoded_is_named(reranker: Reranker, image: object, reason: str) -> None:
    with pytest.raises(ImageRejected, match="Image 1") as caught:
        reranker.rank("red", [halves(RED, RED), image])  # type: ignore[list-item]
    assert caught.value.reason == reason
    assert caught.value.detail.endswith(".")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder", "a terabyte of zeros"])
def test_of_paths_only_regular_files_within_the_limits_are_read_and_nothing_is_waited_for(
    reranker: Reranker, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    expected = "too_many_bytes" if kind == "a terabyte of zeros" else "unreadable"
    for given in (path, str(path)):
        with pytest.raises(ImageRejected, match="Image 0: ") as caught:
            reranker.rank("red", [given])
        assert caught.value.reason == expected


def test_a_file_that_is_longer_than_it_says_is_read_to_its_end_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"a" * 10)
    with path.open("rb") as file:
        assert len(read_within(file, "grows", 10)) == 10
    told = Path("/proc/self/status")  # a regular file that says it has no bytes
    assert told.stat().st_size == 0
    assert read_regular(told, 1 << 20).startswith(b"Name:")
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        read_regular(told, 100)


def test_arguments_that_make_no_sense_are_refused(reranker: Reranker) -> None:
    images = [halves(RED, RED)]
    with pytest.raises(InputError, match="no score named"):
        reranker.rank("red", images, score="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="top_k"):
        reranker.rank("red", images, top_k=0)
    for odd in (1.5, "a", [2]):
        with pytest.raises(InputError, match="top_k must be a whole number"):
            reranker.rank("red", images, top_k=odd)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="k must be a whole number"):
            reranker.rerank("red", [], odd)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="exact_top must be a whole number"):
            reranker.rerank("red", [], 1, exact_top=odd)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a list of pairs"):
        reranker.predict(5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no pairs"):
        reranker.predict([])
    with pytest.raises(InputError, match="Pair 1"):
        reranker.predict([("red", images[0]), "red"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="text is empty"):
        reranker.predict([("", images[0])])
    with pytest.raises(InputError, match="batch_size"):
        Reranker(ToyEncoder(), batch_size=0)


def test_a_model_that_only_judges_ranks_and_predicts_without_an_encoder() -> None:
    images = random_pictures(11)
    judge = Reranker(ToyMatcher(), batch_size=4)
    ranked = judge.rank("a blue and yellow thing", images)
    expected = {index: judged_alone("a blue and yellow thing", image) for index, image in enumerate(images)}
    order = sorted(expected, key=lambda index: (-expected[index][0], index))
    assert [one.index for one in ranked] == order
    for one in ranked:
        logit, probability, _ = expected[one.index]
        assert one.itc is None
        assert (one.score, one.itm_logit) == pytest.approx((logit, logit), abs=1e-6)
        assert one.match_probability == pytest.approx(probability, abs=1e-6)
    assert judge.rank("a blue and yellow thing", images, score="itm") == ranked
    predicted = judge.predict([("a blue and yellow thing", image) for image in images])
    assert predicted.tolist() == pytest.approx([expected[index][1] for index in range(11)], abs=1e-6)


@pytest.mark.parametrize("score", ["itc", "itm+itc"])
def test_scores_with_itc_need_an_encoder_and_say_so(score: str) -> None:
    with pytest.raises(InputError, match=f"no encoder, which the score {re.escape(score)} needs"):
        Reranker(ToyMatcher()).rank("red", [halves(RED, RED)], score=score)  # type: ignore[arg-type]


def test_the_score_that_nobody_named_is_itm_and_itc_where_both_are_there(reranker: Reranker) -> None:
    images = random_pictures(5)
    assert reranker.rank("red", images) == reranker.rank("red", images, score="itm+itc")


class OtherToy(ToyEncoder):
    """The toy as another checkpoint."""

    fingerprint = "toy-2"


def test_an_encoder_of_another_checkpoint_is_refused() -> None:
    with pytest.raises(InputError, match="different checkpoints"):
        Reranker(ToyMatcher(), encoder=OtherToy())


class NanToy(ToyEncoder):
    def match(self, texts: list[str], patches: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return torch.full((len(patches), 2), math.nan)


def test_logits_that_are_no_numbers_do_not_become_an_order() -> None:
    toy = NanToy()
    with pytest.raises(UnavailableError, match="no number"):
        Reranker(toy, encoder=toy).rank("red", [halves(RED, RED)])


def test_importing_and_ranking_pull_in_no_database_no_index_and_no_transformers() -> None:
    code = """
import sys
unwanted = ("sqlalchemy", "alembic", "faiss", "transformers", "celery")
from sightline.reranker import Reranker
print([name for name in unwanted if name in sys.modules])
import numpy
from sightline.blip.toy import ToyEncoder, ToyMatcher
Reranker(ToyEncoder(), encoder=ToyEncoder()).rank("red", [numpy.zeros((4, 4, 3), numpy.uint8)])
print([name for name in unwanted if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]
