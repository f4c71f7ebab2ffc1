"""Pictures in every form that people have them in, from anywhere, seen once; a bad one is named."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sightline.blip.toy import ToyEncoder, ToyMatcher
from sightline.errors import ImageRejected, InputError
from sightline.reranker import EncodedImages, RankedImage, Ranking, Reranker
from tests.reranker.test_reranker_rank import CountingToy, OtherToy, judged_alone, random_pictures

TEXTS = ["red", "blue top", "a green and yellow thing"]


@pytest.fixture
def toy() -> CountingToy:
    return CountingToy()


@pytest.fixture
def reranker(toy: CountingToy) -> Reranker:
    return Reranker(toy, encoder=toy, batch_size=4)


def file_of(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_files_tensors_and_rows_are_one_picture(reranker: Reranker, tmp_path: Path) -> None:
    pixels = random_pictures(1)[0]
    data = file_of(pixels)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    read_to_its_end = BytesIO(data)
    read_to_its_end.read()
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    forms = [
        pixels, bytearray(data), memoryview(data), read_to_its_end, tensor, tensor / 255,
        (tensor / 255).requires_grad_(), {"image": Image.fromarray(pixels), "caption": "a dog"},
        {"image": {"bytes": data, "path": None}}, {"bytes": None, "path": str(path)},
    ]  # fmt: skip
    with path.open("rb") as file:
        forms.append(file)
        for _ in range(2):  # a file that was read is read again
            ranked = reranker.rank("green", forms)
            assert sorted(image.index for image in ranked) == list(range(len(forms)))
            assert len({(image.score, image.itm_logit, image.itc) for image in ranked}) == 1


def test_grey_and_see_through_pixels_are_treated_as_in_a_file(reranker: Reranker) -> None:
    pixels = random_pictures(1)[0]
    grey, clear = pixels[:, :, 0], np.dstack([pixels, pixels[:, :, 1]])
    for plain, channels in ((grey, grey[:, :, None]), (clear, clear)):
        tensor = torch.from_numpy(channels.copy()).permute(2, 0, 1)
        ranked = reranker.rank("green", [file_of(plain), plain, channels, tensor])
        assert len({image.score for image in ranked}) == 1


def test_batches_of_arrays_and_tensors_are_lists_of_pictures(reranker: Reranker) -> None:
    pictures = np.stack(random_pictures(5))
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    assert (
        reranker.rank("red", tensors) == reranker.rank("red", pictures) == reranker.rank("red", [*pictures])
    )


def test_a_hit_is_read_by_its_own_names_and_by_those_of_a_cross_encoder(reranker: Reranker) -> None:
    pictures = random_pictures(3)
    hit = reranker.rank("red", pictures)[0]
    assert isinstance(hit, Mapping)
    assert hit["corpus_id"] == hit["index"] == hit.index
    assert hit["score"] == hit.score
    assert dict(hit) == {name: hit[name] for name in hit}
    assert len(hit) == len(dict(hit)) == 7
    assert "text" not in hit
    assert hit.get("document") is None
    with pytest.raises(KeyError, match="text"):
        hit["text"]
    back = reranker.rank("red", pictures, return_documents=True)[0]
    assert back["text"] is back["document"] is back.document is pictures[hit.index]
    assert list(back)[-3:] == ["corpus_id", "document", "text"]
    assert back == hit
    assert hash(back) == hash(hit)
    assert pickle.loads(pickle.dumps(hit)) == hit
    with pytest.raises(AttributeError):
        hit.score = 5.0  # type: ignore[misc]
    with pytest.raises(InputError, match="return_documents must be True or False, not 'itm'"):
        reranker.rank("red", pictures, None, "itm")  # type: ignore[arg-type]


def test_items_of_a_generator_come_back_and_are_taken_batch_by_batch(
    toy: CountingToy, reranker: Reranker
) -> None:
    pictures = random_pictures(10)
    seen_before: list[int] = []

    def rows() -> Iterator[dict[str, object]]:
        for number, picture in enumerate(pictures):
            seen_before.append(sum(toy.encoded))
            assert not torch.is_inference_mode_enabled()
            yield {"image": picture, "number": number}

    ranked = reranker.rank("red", rows(), top_k=3)
    assert [hit["document"]["number"] for hit in ranked] == [hit.index for hit in ranked]
    assert ranked == reranker.rank("red", pictures, 3)
    assert seen_before == [0] * 4 + [4] * 4 + [8] * 2


def test_the_best_few_of_many_are_the_head_of_the_whole_order(reranker: Reranker) -> None:
    pictures = random_pictures(60)
    whole = reranker.rank("a blue and yellow thing", pictures)
    for top_k in (1, 2, 7, 59, 100):
        assert reranker.rank("a blue and yellow thing", iter(pictures), top_k) == whole[:top_k]


@pytest.mark.parametrize("score", ["itm+itc", "itm", "itc"])
def test_several_texts_for_the_same_images_encode_each_once_and_score_as_ever(
    toy: CountingToy, reranker: Reranker, score: str
) -> None:
    pictures = random_pictures(10)
    expected = [reranker.rank(text, pictures, score=score) for text in TEXTS]  # type: ignore[arg-type]
    toy.encoded.clear()
    encoded = reranker.encode(iter(pictures))
    assert [reranker.rank(text, encoded, score=score) for text in TEXTS] == expected  # type: ignore[arg-type]
    assert toy.encoded == [4, 4, 2]
    best = reranker.rank(TEXTS[0], encoded, top_k=1, return_documents=True)[0]
    assert best.document is pictures[best.index]


def test_encoded_images_are_what_the_model_gives(reranker: Reranker, tmp_path: Path) -> None:
    plain, pictures = ToyEncoder(), random_pictures(6)
    encoded = reranker.encode(pictures)
    patches = plain.encode_patches(plain.preprocess(pictures))
    assert torch.equal(encoded.patches, patches)
    assert encoded.tokens is not None
    assert torch.allclose(encoded.tokens, plain.encode_image(patches))
    assert len(encoded) == 6
    assert encoded.nbytes == 6 * (5 * 6 + 4 * 8) * 4
    part = encoded[1:5]
    assert reranker.rank("red", part) == reranker.rank("red", pictures[1:5])
    assert reranker.rank("red", encoded[-1]) == reranker.rank("red", pictures[-1:])
    with pytest.raises(IndexError):
        encoded[6]
    # kept without an encoder, ranked with one
    alone = Reranker(ToyMatcher()).encode(pictures)
    assert alone.tokens is None
    assert reranker.rank("red", alone) == reranker.rank("red", pictures)
    with pytest.raises(InputError, match="Another model encoded these images"):
        Reranker(OtherToy(), encoder=OtherToy()).rank("red", encoded)


def test_encoded_images_are_kept_in_a_file(reranker: Reranker, tmp_path: Path) -> None:
    paths: list[Path] = []
    for number, picture in enumerate(random_pictures(3)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(picture).save(paths[-1])
    paths[1].write_bytes(b"no picture")
    encoded = reranker.encode(paths, errors="skip")
    encoded.save(tmp_path / "kept.safetensors")
    again = EncodedImages.load(tmp_path / "kept.safetensors")
    found, expected = reranker.rank("red", again, return_documents=True), reranker.rank("red", encoded)
    assert found == expected
    assert found.skipped == expected.skipped
    assert [hit.document for hit in found] == [str(paths[hit.index]) for hit in found]
    for other in ("nowhere", "1.png"):
        with pytest.raises(InputError, match="holds no encoded images"):
            EncodedImages.load(tmp_path / other)


@pytest.mark.parametrize(
    "said",
    [
        "{}", "[]", '{"documents": [], "skipped": [[5, "a", "b"]], "fingerprint": "x"}',
        '{"documents": ["a", "b"], "skipped": [], "fingerprint": "x"}',
    ],
)  # fmt: skip
def test_a_file_that_says_too_little_of_itself_holds_no_encoded_images(tmp_path: Path, said: str) -> None:
    save_file({"patches": torch.zeros(1, 2, 3)}, tmp_path / "odd.safetensors", {"sightline": said})
    with pytest.raises(InputError, match="holds no encoded images"):
        EncodedImages.load(tmp_path / "odd.safetensors")


def test_encoded_images_that_cannot_be_kept_are_told_of(reranker: Reranker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        reranker.encode(random_pictures(1)).save(tmp_path / "nowhere" / "kept.safetensors")


@pytest.mark.parametrize("odd", [torch.zeros(3, 4, 4).to_sparse(), torch.zeros(3, 4, 4, device="meta")])
def test_a_tensor_that_has_no_pixels_is_skipped_as_any_other_bad_picture(
    reranker: Reranker, odd: torch.Tensor
) -> None:
    with pytest.raises(InputError, match="Image 1: An image tensor must be"):
        reranker.rank("red", [*random_pictures(1), odd])
    assert [one.index for one in reranker.rank("red", [*random_pictures(1), odd], errors="skip").skipped] == [
        1
    ]


def test_one_bad_file_names_its_path_and_need_not_end_the_run(reranker: Reranker, tmp_path: Path) -> None:
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    bad.write_bytes(b"no picture")
    good = random_pictures(4)
    mixed = [good[0], bad, good[1], gone, good[2], None, good[3]]
    with pytest.raises(ImageRejected) as caught:
        reranker.rank("red", mixed)  # type: ignore[list-item]
    assert caught.value.detail.startswith(f"Image 1 ({str(bad)!r}): ")
    ranking = reranker.rank("red", mixed, errors="skip")  # type: ignore[list-item]
    assert isinstance(ranking, Ranking)
    assert [(one.index, one.reason, one.document) for one in ranking.skipped] == [
        (1, "not_an_image", bad), (3, "unreadable", gone), (5, "invalid-input", None)
    ]  # fmt: skip
    assert ranking.skipped[1].detail.startswith(f"Image 3: {gone} cannot be read")
    scores = {hit.index: hit.score for hit in reranker.rank("red", good)}
    assert {hit.index: hit.score for hit in ranking} == {2 * index: score for index, score in scores.items()}

    encoded = reranker.encode(mixed, errors="skip")  # type: ignore[list-item]
    assert len(encoded) == 7
    assert reranker.rank("red", encoded) == ranking
    assert reranker.rank("red", encoded).skipped == ranking.skipped
    assert [one.index for one in reranker.rank("red", encoded[3:]).skipped] == [0, 2]
    assert {hit.index: hit.score for hit in reranker.rank("red", encoded[3:])} == {1: scores[2], 3: scores[3]}

    with pytest.raises(InputError, match="raise or skip, not 'ignore'"):
        reranker.rank("red", good, errors="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["row", "pil", "file"])
def test_a_bad_picture_is_named_wherever_its_name_is_known(
    reranker: Reranker, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "torn.png"
    path.write_bytes(file_of(np.repeat(random_pictures(1)[0], 20, 0))[:-60])
    with path.open("rb") as file:
        form = {"row": {"image": {"bytes": path.read_bytes(), "path": str(path)}}, "file": file}.get(kind)
        with pytest.raises(ImageRejected) as caught:
            reranker.rank("red", [Image.open(path) if form is None else form])
    assert caught.value.detail.startswith(f"Image 0 ({str(path)!r}): ")


def test_when_all_are_skipped_nothing_is_ranked(reranker: Reranker) -> None:
    bad = [b"no picture"] * 5
    ranking = reranker.rank("red", bad, errors="skip")
    assert ranking == []
    assert [one.index for one in ranking.skipped] == [0, 1, 2, 3, 4]
    assert reranker.rank("red", reranker.encode(bad, errors="skip")).skipped == ranking.skipped


def test_a_skipped_pair_has_no_number_and_is_read_once(reranker: Reranker, tmp_path: Path) -> None:
    good = random_pictures(2)
    pairs = [(text, image) for text in TEXTS for image in (good[0], b"no picture", good[1])]
    with pytest.raises(ImageRejected, match="Image 1: "):
        reranker.predict(pairs)
    found = reranker.predict(pairs, errors="skip").reshape(3, 3)
    assert np.isnan(found[:, 1]).all()
    for row, text in zip(found, TEXTS, strict=True):
        assert row[[0, 2]].tolist() == pytest.approx([judged_alone(text, one)[1] for one in good], abs=1e-6)


def test_a_pair_gives_a_number_and_pairs_an_array_or_a_tensor(reranker: Reranker) -> None:
    pictures = random_pictures(3)
    pairs = [(text, picture) for text, picture in zip(TEXTS, pictures, strict=True)]
    array = reranker.predict(pairs)
    assert array.dtype == np.float32
    assert array.shape == (3,)
    for pair, expected in zip(pairs, array, strict=True):
        one = reranker.predict(pair)
        assert isinstance(one, np.float32)
        assert one == expected == reranker.predict(list(pair))  # type: ignore[comparison-overlap]
    tensor = reranker.predict(iter(pairs), convert_to_tensor=True)
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == array.tolist()
    assert reranker.predict(pairs, 1, activation_fn=torch.nn.Sigmoid()).tolist() == pytest.approx(
        array.tolist()
    )
    with pytest.raises(InputError, match="an array or a tensor"):
        reranker.predict(pairs, convert_to_numpy=False)
    odds = reranker.predict(pairs, activation_fn=torch.nn.Identity())
    assert odds.tolist() == pytest.approx([math.log(p / (1 - p)) for p in array.tolist()], abs=1e-5)


def test_columns_of_a_table_are_taken_as_they_are(reranker: Reranker, tmp_path: Path) -> None:
    pictures = random_pictures(2)
    names = []
    for number, picture in enumerate(pictures):
        path = tmp_path / f"{number}.png"
        Image.fromarray(picture).save(path)
        names.append(str(path))
    expected = reranker.predict(list(zip(TEXTS[:2], pictures, strict=True)))
    for kind in (object, str):
        column, table = np.array(names, kind), np.array([TEXTS[:2], names], kind).T
        assert reranker.rank("red", column) == reranker.rank("red", pictures)
        assert reranker.predict(table).tolist() == expected.tolist()
        assert reranker.predict(table[0]) == expected[0]


def test_a_bar_is_shown_when_it_is_asked_for(reranker: Reranker, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = random_pictures(6)
    expected = reranker.rank("red", pictures)
    assert capsys.readouterr().err == ""
    assert reranker.rank("red", pictures, show_progress_bar=True) == expected
    reranker.predict([("red", picture) for picture in pictures], show_progress_bar=True)
    reranker.encode(iter(pictures), show_progress_bar=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("6/6") == 2
    assert err.count("6/?") == 1


def test_for_asyncio_the_answers_are_the_same(reranker: Reranker) -> None:
    pictures = random_pictures(6)
    pairs = [("red", picture) for picture in pictures]

    async def asked() -> tuple[Ranking, list[float], Ranking]:
        encoded = await reranker.aencode(pictures)
        ranked, predicted = await asyncio.gather(reranker.arank("red", pictures, 4), reranker.apredict(pairs))
        return ranked, predicted.tolist(), await reranker.arank("red", encoded, top_k=4)

    ranked, predicted, again = asyncio.run(asked())
    assert ranked == again == reranker.rank("red", pictures, 4)
    assert predicted == reranker.predict(pairs).tolist()
    with pytest.raises(InputError, match="no images"):
        asyncio.run(reranker.arank("red", []))


class WaitingToy(CountingToy):
    """The toy, which says when it is asked, and goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def match(self, texts: list[str], patches: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        self.asked.set()
        assert self.go_on.wait(20)
        return super().match(texts, patches)


def test_what_nobody_waits_for_any_more_ends_after_the_batch_in_hand() -> None:
    toy = WaitingToy()
    reranker = Reranker(toy, encoder=toy, batch_size=4)

    async def given_up() -> None:
        task = asyncio.create_task(reranker.arank("red", random_pictures(40)))
        assert await asyncio.to_thread(toy.asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        toy.go_on.set()

    asyncio.run(given_up())  # waits for the threads it started
    assert toy.encoded == [4]
    assert len(reranker.rank("red", random_pictures(8))) == 8  # what comes after is not affected


def test_types_of_answers_are_of_one_kind(reranker: Reranker) -> None:
    ranking = reranker.rank("red", random_pictures(2))
    assert isinstance(ranking, list)
    assert all(isinstance(hit, RankedImage) for hit in ranking)
    assert ranking.skipped == ()
    assert pickle.loads(pickle.dumps(ranking)).skipped == ()
