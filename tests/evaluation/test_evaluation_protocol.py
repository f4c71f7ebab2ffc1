"""Our score matrices against an independent, slow loop that does what LAVIS' ``compute_sim_matrix`` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.blip import load
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.toy import ToyEncoder
from sightline.evaluation.protocol import embed, image_to_text, text_to_image
from sightline.evaluation.tables import PictureTable, TableView, encode_patches

PICTURES = 12
TEXTS = [
    "a red dog on the beach",
    "two blue cars and a house with a tree on the left",
    "cat",
    "a green bird over the snow at night",
    "three white boats",
    "a small brown key under a large yellow umbrella near the purple train in the city",
    "a kite",
    "an orange fish and a pink fish and a red fish",
]


def pictures() -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(PICTURES)]


def filled_table(model: Any, folder: Path) -> TableView:
    table = PictureTable(folder, "test", PICTURES, model.patch_shape, "float32")
    table.write(range(PICTURES), encode_patches(model)(pictures()))
    return table.view(range(PICTURES))


def slow_scores(itc: Tensor, k: int, judge: Callable[[int, int], float]) -> Tensor:
    """One direction, pair by pair: -100 but at the k best of each row, which get logit + ITC score."""
    scores = torch.full(itc.shape, -100.0)
    for row in range(itc.shape[0]):
        best = sorted(range(itc.shape[1]), key=lambda column: -itc[row, column].item())[:k]
        for column in best:
            scores[row, column] = judge(row, column) + itc[row, column]
    return scores


class Stock:
    """Features and logits from stock transformers, text padded to 35 as in LAVIS' evaluation."""

    def __init__(self, folder: Path, pixels: Tensor) -> None:
        from transformers import AutoTokenizer, Blip2ForImageTextRetrieval

        self.model: Any = Blip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32).eval()
        tokens = AutoTokenizer.from_pretrained(folder)(
            TEXTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
        )
        self.ids, self.mask = tokens["input_ids"], tokens["attention_mask"]
        self.patches = self.model.vision_model(pixel_values=pixels).last_hidden_state

    def itc(self) -> Tensor:
        """``[N, T]``"""
        model = self.model
        text = model.qformer(
            query_embeds=model.embeddings(input_ids=self.ids), query_length=0, attention_mask=self.mask
        ).last_hidden_state[:, 0]
        vectors = torch.nn.functional.normalize(model.text_projection(text), dim=-1)
        rows = []
        for patches in self.patches:
            hidden = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=patches[None])
            tokens = torch.nn.functional.normalize(
                model.vision_projection(hidden.last_hidden_state[0]), dim=-1
            )
            rows.append((tokens @ vectors.T).max(dim=0).values)
        return torch.stack(rows)

    def itm(self, image: int, text: int) -> float:
        """The match logit of one pair, averaged over the queries."""
        model, queries = self.model, self.model.query_tokens
        seen = torch.cat(
            [torch.ones(1, queries.shape[1], dtype=torch.long), self.mask[text : text + 1]], dim=1
        )
        hidden = model.qformer(
            query_embeds=model.embeddings(input_ids=self.ids[text : text + 1], query_embeds=queries),
            query_length=queries.shape[1],
            attention_mask=seen,
            encoder_hidden_states=self.patches[image : image + 1],
        ).last_hidden_state[:, : queries.shape[1]]
        return float(model.itm_head(hidden)[0, :, 1].mean())


@pytest.mark.parametrize("k", [3, 5])
def test_score_matrices_equal_the_lavis_loop_entry_by_entry(tmp_path: Path, k: int) -> None:
    folder = write_random_checkpoint(tmp_path / "model")
    model = load(str(folder), device="cpu", dtype="float32")
    table = filled_table(model, tmp_path)
    features = embed(model, table, TEXTS, batch_size=5)
    similarity = features.similarity()
    to_image = text_to_image(model, table, TEXTS, similarity, (3, 5), batch_size=2)
    to_text = image_to_text(model, table, TEXTS, similarity, (3, 5), batch_size=2)
    with torch.inference_mode():
        stock = Stock(folder, model.preprocess(pictures()))
        itc = stock.itc()
        expected_to_image = slow_scores(itc.T, k, lambda text, image: stock.itm(image, text))
        expected_to_text = slow_scores(itc, k, stock.itm)
    assert len({round(value, 4) for value in itc.flatten().tolist()}) > 50, "the oracle must tell pairs apart"
    torch.testing.assert_close(similarity, itc, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(to_image.matrix(k, "itm+itc"), expected_to_image, atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(to_text.matrix(k, "itm+itc"), expected_to_text, atol=2e-5, rtol=2e-5)


def test_itm_alone_leaves_the_itc_score_out_and_k_beyond_the_data_is_everything(tmp_path: Path) -> None:
    toy = ToyEncoder()
    table = filled_table(toy, tmp_path)
    features = embed(toy, table, TEXTS, batch_size=4)
    to_image = text_to_image(toy, table, TEXTS, features.similarity(), (2, 500), batch_size=3)
    alone, both = to_image.matrix(500, "itm"), to_image.matrix(500, "itm+itc")
    assert (alone > -100).all()
    expected = [[float(toy.match([text], table.read([n]))[0, 1]) for n in range(PICTURES)] for text in TEXTS]
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    np.testing.assert_allclose(both - alone, features.similarity().T, atol=1e-5)
    assert ((to_image.matrix(2, "itm") > -100).sum(axis=1) == 2).all()
    assert 0 < to_image.seconds[2] < to_image.seconds[500]
