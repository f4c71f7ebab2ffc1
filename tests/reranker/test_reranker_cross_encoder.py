"""Programs that were written with sentence-transformers run as they stand, but for one line: the import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import sightline
from sightline.blip import load
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.toy import ToyEncoder
from sightline.errors import InputError
from sightline.reranker import Reranker
from tests.reranker.test_reranker_rank import BLUE, PURPLE, RED, WHITE, halves, judged_alone

THEIRS, OURS = "from sentence_transformers import CrossEncoder", "from sightline import CrossEncoder"
PICTURES = {
    "blue.png": halves(BLUE, BLUE),
    "both.png": halves(RED, BLUE),
    "purple.png": halves(PURPLE, PURPLE),
    "white.png": halves(WHITE, WHITE),
}

RANKING = """
from sentence_transformers import CrossEncoder

model = CrossEncoder("toy", max_length=512, device="cpu")

query = "red left and blue right"
passages = ["blue.png", "both.png", "purple.png", "white.png"]

ranks = model.rank(query, passages, top_k=3, return_documents=True, show_progress_bar=False)

print("Query:", query)
for rank in ranks:
    print(f"- #{rank['corpus_id']} ({rank['score']:.2f}): {rank['text']}")
best = ranks[0]
assert all(best["score"] >= hit["score"] for hit in ranks)
"""

PREDICTING = """
import numpy as np
from PIL import Image
from sentence_transformers import CrossEncoder

model = CrossEncoder("demo")
query = "a red thing"
corpus = [Image.open(name) for name in ("blue.png", "both.png", "purple.png", "white.png")]

sentence_combinations = [[query, sentence] for sentence in corpus]
scores = model.predict(sentence_combinations, batch_size=2, convert_to_numpy=True)

print("Scores:", scores.shape, scores.dtype)
for score_id in np.argsort(-scores):
    print(f"{scores[score_id]:.4f}", corpus[score_id].filename)
print("One:", float(model.predict((query, corpus[0]))))
"""

RETRIEVING = """
import glob
from sentence_transformers import CrossEncoder

cross_encoder = CrossEncoder("toy")
passages = sorted(glob.glob("*.png"))
query = "blue"

hits = [{"corpus_id": number, "score": 1 / (1 + number)} for number in range(len(passages))][:3]
cross_inp = [[query, passages[hit["corpus_id"]]] for hit in hits]
cross_scores = cross_encoder.predict(cross_inp)
for idx in range(len(cross_scores)):
    hits[idx]["cross-score"] = cross_scores[idx]
hits = sorted(hits, key=lambda x: x["cross-score"], reverse=True)
for hit in hits[0:2]:
    print("{:.3f} {}".format(hit["cross-score"], passages[hit["corpus_id"]]))
"""


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the programs name."""
    monkeypatch.chdir(tmp_path)
    for name, pixels in PICTURES.items():
        Image.fromarray(pixels).save(name)


def printed(program: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a program prints, line by line; only its import is another."""
    assert program.count(THEIRS) == 1
    exec(compile(program.replace(THEIRS, OURS), "program", "exec"), {})
    return capsys.readouterr().out.splitlines()


def test_ranking_with_documents(capsys: pytest.CaptureFixture[str]) -> None:
    said, *hits = printed(RANKING, capsys)
    assert said == "Query: red left and blue right"
    scores = {}
    for place, (name, pixels) in enumerate(PICTURES.items()):
        logit, _, itc = judged_alone("red left and blue right", pixels)
        scores[f"- #{place} ({logit + itc:.2f}): {name}"] = logit + itc
    assert hits == sorted(scores, key=lambda line: -scores[line])[:3]
    assert hits[0].endswith("both.png")


@pytest.mark.skipif(not (DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet")
def test_predicting_and_sorting(capsys: pytest.CaptureFixture[str]) -> None:
    shape, *hits, one = printed(PREDICTING, capsys)
    model = load("demo")
    assert shape == "Scores: (4,) float32"
    odds = {}
    for name, pixels in PICTURES.items():
        patches = model.encode_patches(model.preprocess([pixels]))
        no, yes = model.match(["a red thing"], patches)[0].tolist()  # type: ignore[attr-defined]
        odds[name] = yes - no
    # calibrated probabilities rise with the difference of the two logits
    assert [re.split(r"[ /]", line)[-1] for line in hits] == sorted(odds, key=lambda name: -odds[name])
    by_name = {line.split()[1]: float(line.split()[0]) for line in hits}
    assert float(one.split()[1]) == pytest.approx(by_name["blue.png"], abs=1e-4)


def test_reranking_what_another_retrieved(capsys: pytest.CaptureFixture[str]) -> None:
    chances = {
        name: judged_alone("blue", PICTURES[name])[1] for name in ("blue.png", "both.png", "purple.png")
    }
    best = sorted(chances, key=lambda name: -chances[name])[:2]
    assert printed(RETRIEVING, capsys) == [f"{chances[name]:.3f} {name}" for name in best]


def test_the_other_name_is_the_same_class() -> None:
    assert sightline.CrossEncoder is sightline.Reranker is Reranker
    paths = list(PICTURES)
    assert Reranker("toy").rank("red", paths) == Reranker.from_pretrained("toy").rank("red", paths)
    toy = ToyEncoder()
    assert Reranker("toy").rank("red", paths) == Reranker(toy, encoder=toy).rank("red", paths)


def test_arguments_of_loading_that_can_change_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="This model reads 16 tokens of a text; max_length can be no less"):
        Reranker("toy", max_length=8)
    with pytest.raises(InputError, match="A model that is loaded stays as it is"):
        Reranker(ToyEncoder(), device="cpu")
    with pytest.raises(InputError, match="needs a model that judges pairs, or the name of one, not int"):
        Reranker(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="num_labels"):
        Reranker("toy", num_labels=3)  # type: ignore[call-arg]
