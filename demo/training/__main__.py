"""``python -m demo.training OUT --work DIR``: make the demo model from nothing.

Stages: draw the world, learn the tokenizer, train the image encoder, encode the pictures, train the Q-Former,
write the checkpoint. Each leaves its result under DIR; a second call goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

from demo.training.batches import BatchMaker
from demo.training.pictures import draw_pictures, scene_list
from demo.training.qformer import Learner, init_qformer, train_qformer
from demo.training.recipe import Recipe, architecture
from demo.training.vision import centre_patches, encode_pictures, train_vision
from demo.training.vocabulary import learn_tokenizer
from sightline.blip.export import save_checkpoint
from sightline.blip.network import Blip2Network
from sightline.blip.pixels import PixelConfig
from sightline.blip.tokenizer import TextTokenizer

log = logging.getLogger(__name__)


def tokenizer_of(work: Path, recipe: Recipe) -> TextTokenizer:
    """Learned once, then read back."""
    path = work / "tokenizer.json"
    if not path.exists():
        path.write_text(learn_tokenizer(recipe.vocab_size).to_json())
    return TextTokenizer(Tokenizer.from_file(str(path)), recipe.max_text_tokens)


def make(out: Path, work: Path, recipe: Recipe) -> None:
    """Run every stage that is not done yet and write the checkpoint to ``out``."""
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(work, recipe)
    config = architecture(tokenizer.size)
    side = config.vision_config.image_size
    train = scene_list("train", recipe.seed, recipe.families, recipe.random_scenes)
    pictures = draw_pictures(work / "train", train, side)
    held_out = draw_pictures(work / "val", scene_list("val", recipe.seed, 60, 520), side)
    log.info("%d pictures drawn, %d word pieces", len(pictures.scenes), tokenizer.size)
    vision = train_vision(config.vision_config, recipe.vision, pictures, held_out, work, recipe.seed)
    centre_patches(vision, pictures)
    patches = encode_pictures(vision, pictures, config, work / "patches.f16")
    learner = Learner(Blip2Network(config, with_vision=False))
    init_qformer(learner, recipe.seed)
    for number, (name, stage) in enumerate((("qformer", recipe.qformer), ("settling", recipe.settling))):
        seed = recipe.seed + number
        batches = BatchMaker(pictures.scenes, recipe.families, tokenizer, recipe.max_text_tokens, seed)
        train_qformer(learner, stage, patches, batches, work / f"{name}.pt", seed)
    learner.network.vision_model = vision
    save_checkpoint(out, learner.network, learner.itg, tokenizer, PixelConfig(side), torch.float16)
    log.info("demo model written to %s", out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.training", description="Make the demo model.")
    parser.add_argument("out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--work", type=Path, default=Path("build/demo-model"), help="intermediate results")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    make(given.out, given.work, Recipe())


if __name__ == "__main__":
    main()
