"""What somebody writes is text: special tokens in it are brackets and letters; no id is beyond the rows."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.tokenizer import TextTokenizer, load_tokenizer
from sightline.errors import CheckpointError, InputError

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "<image>", "[unused1]", "</s>", "<pad>"]
FULL_WIDTH = str.maketrans("[]<>", "［］＜＞")
ROWS = 3048
"""Of the demo model's word embedding: its ``<image>`` has the id 3048."""


def demo() -> Tokenizer:
    return Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json"))


def spread(text: str) -> str:
    """Brackets with spaces around them, which no special token has: to BERT the same text."""
    return re.sub(r"([\[\]<>/])", r" \1 ", text)


def hostile(count: int, seed: int = 0) -> Iterator[str]:
    """Sentences with every special token in them, written in all the ways that come to mind."""
    chance = random.Random(seed)
    ways: list[Callable[[str], str]] = [
        str,
        str.lower,
        str.swapcase,
        " ".join,
        lambda token: token * 3,
        lambda token: f"##{token}",
        lambda token: f"x{token}y",
        lambda token: token.translate(FULL_WIDTH),
        lambda token: "\u200b".join(token),
    ]
    for _ in range(count):
        words = [chance.choice(ways)(token) for token in SPECIAL]
        words += ["a", "red", "dog", "☃", "naïve"]
        chance.shuffle(words)
        yield chance.choice([" ", "", "  "]).join(words)


def whole_words(*added: AddedToken) -> Tokenizer:
    """A tokenizer that leaves brackets in their words, and normalises look-alikes into them."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "<pad>", "a", "red", "dog", "[DEC]"]
    tokenizer = Tokenizer(models.WordPiece({name: at for at, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_tokens(list(added))
    return tokenizer


def test_special_tokens_in_a_text_are_the_characters_that_they_are_made_of() -> None:
    ours, stock = TextTokenizer(demo(), 10_000, ROWS), demo()
    for text in hostile(10_000):
        ids = ours.ids(text)
        assert ids == stock.encode(spread(text)).ids, text
        assert max(ids) < ROWS
        assert not {ours.pad, ours.cls, ours.sep, ours.dec, 3048} & set(ids[1:-1])


def test_ten_thousand_hostile_texts_leave_the_next_query_as_it_was(tmp_path: Path) -> None:
    model = load(str(write_random_checkpoint(tmp_path / "model")), device="cpu")
    assert isinstance(model, Blip2)
    patches = torch.randn(1, *model.patch_shape, generator=torch.Generator().manual_seed(0))
    before = model.encode_text(["a red dog"]), model.match(["a red dog"], patches)
    texts = list(hostile(10_000, seed=1))
    for start in range(0, len(texts), 500):
        assert model.encode_text(texts[start : start + 500]).isfinite().all()
    assert model.match(texts[:1], patches).isfinite().all()
    assert torch.equal(before[0], model.encode_text(["a red dog"]))
    assert torch.equal(before[1], model.match(["a red dog"], patches))


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_no_tokenizer_file_lets_structure_through(special: bool, normalized: bool) -> None:
    """Tokens not marked special, words of the vocabulary itself, brackets that normalise to brackets."""
    tokens = [AddedToken(name, special=special, normalized=normalized) for name in ("<image>", "[SEP]")]
    full = whole_words(*tokens)
    ours = TextTokenizer(full, 10_000, rows=11)
    structure = {index for name, index in full.get_vocab().items() if name[0] in "[<" and name != "[UNK]"}
    for text in hostile(1000, seed=2):
        ids = ours.ids(text)
        assert max(ids) < 11
        assert not structure & set(ids[1:-1]), text
    assert ours.ids("a red ［SEP］ dog") == [2, 7, 8, 1, 9, 3]


def test_a_word_that_a_fine_tuning_added_stays_a_word() -> None:
    ours = TextTokenizer(whole_words(AddedToken("<image>"), AddedToken("zwieback")), rows=13)
    assert ours.ids("a <image> zwieback") == [2, 7, 1, 12, 3]


def captions() -> list[str]:
    rows = (ROOT / "sightline" / "data" / "demo-collection" / "manifest.jsonl").read_text().splitlines()
    found = [str(json.loads(row)["caption"]) for row in rows]
    for folder in ("flickr8k-train", "openstax"):
        path = SHARED / folder / "captions.jsonl"
        if path.exists():
            found += [text for row in path.read_text().splitlines() for text in json.loads(row)["captions"]]
    return found


def test_ordinary_text_has_the_ids_that_the_tokenizer_itself_gives() -> None:
    ours, stock = TextTokenizer(demo(), 10_000, ROWS), demo()
    texts = captions()
    assert len(texts) >= 250
    assert [ours.ids(text) for text in texts] == [encoded.ids for encoded in stock.encode_batch(texts)]


def test_words_beyond_the_embedding_are_refused_when_the_model_is_loaded(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "model")
    path = folder / "tokenizer.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content["model"]["vocab"]["zwieback"] = 5000
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"a word with id 5000.*rows; take the tokenizer files"):
        load(str(folder), device="cpu")


def test_a_caption_token_beyond_the_embedding_is_as_good_as_none() -> None:
    assert TextTokenizer(demo(), rows=3047).dec is None


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(CheckpointError, match="is no UTF-8 text"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE({"[CLS]": 0, "[SEP]": 1, "[PAD]": 2}, []))
    with pytest.raises(CheckpointError, match="has no word pieces"):
        TextTokenizer(tokenizer)


def test_a_line_separator_in_a_vocabulary_is_a_word_of_it(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2028", "dog"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    assert load_tokenizer(tmp_path).ids("dog") == [2, 6, 3]


def test_half_a_surrogate_pair_is_refused_with_a_sentence() -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        TextTokenizer(demo(), rows=ROWS).ids("a \ud800 dog")
