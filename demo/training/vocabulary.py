"""The demo tokenizer: WordPiece learned from text that we wrote ourselves, able to spell any English word."""

from __future__ import annotations

import string

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from demo.world.corpus import sentences_for_tokenizer
from sightline.blip.tokenizer import TextTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def learn_tokenizer(vocab_size: int) -> TextTokenizer:
    """Learn at most ``vocab_size`` pieces; every letter and digit is one, at the start and inside of a word.

    [DEC] is the last id, as in LAVIS, where it is added to BERT's vocabulary.
    """
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=SPECIAL,
        initial_alphabet=list(string.printable.strip()),
        show_progress=False,
    )
    learner.train_from_iterator(sentences_for_tokenizer(), trainer)
    pieces = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    spelling = [*string.ascii_lowercase, *string.digits]
    names = list(
        dict.fromkeys(
            [*SPECIAL, *spelling, *(f"##{c}" for c in spelling), *string.punctuation, *(p for p, _ in pieces)]
        )
    )
    names = [*names[: vocab_size - 1], "[DEC]"]
    return TextTokenizer(_assemble({name: index for index, name in enumerate(names)}))


def _assemble(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    around = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=around
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([*SPECIAL, "[DEC]"])
    return tokenizer
