"""The demo model that answers: ``torchrun … -m demo.training.make_asking RETRIEVAL OUT --work DIR``.

Stages, after those of ``demo.training``: learn the language model's tokenizer, train the language model,
encode the pictures by the retrieval model's image encoder, train Q-Former and projection, write the
checkpoint. Each leaves its result under DIR; a second call goes on where the first was stopped. One process
does too, in twice the time.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

from demo.training.asking import InstructionMaker, join, packer, train_asking
from demo.training.asking_checkpoint import save_asking
from demo.training.asking_recipe import AskingRecipe
from demo.training.language import learn_language_tokenizer, train_language
from demo.training.pictures import Pictures, draw_pictures, scene_list
from demo.training.together import is_first, start_together, wait
from demo.training.vision import encode_pictures
from sightline.blip.config import Blip2Config, read_config
from sightline.blip.tokenizer import load_tokenizer
from sightline.training.answering import AnswerLearner
from sightline.training.weights import load_network

log = logging.getLogger(__name__)


def language_tokenizer(work: Path, recipe: AskingRecipe) -> Tokenizer:
    """Learned once, then read back."""
    path = work / "language-tokenizer.json"
    if is_first() and not path.exists():
        path.write_text(learn_language_tokenizer(recipe).to_str())
    wait()
    return Tokenizer.from_file(str(path))


def pictures_of(work: Path, config: Blip2Config, recipe: AskingRecipe) -> Pictures:
    """The retrieval model's training pictures."""
    found = scene_list("train", recipe.world_seed, recipe.families, recipe.random_scenes)
    if is_first():
        draw_pictures(work / "train", found, config.vision_config.image_size)
    wait()
    return Pictures(work / "train", config.vision_config.image_size)


def make(retrieval: Path, out: Path, work: Path, recipe: AskingRecipe) -> None:
    """Run every stage that is not done yet and write the checkpoint to ``out``."""
    work.mkdir(parents=True, exist_ok=True)
    config = read_config(retrieval)
    words = language_tokenizer(work, recipe)
    language = train_language(recipe, words, work / "language.pt")
    pictures = pictures_of(work, config, recipe)
    network, _ = load_network(retrieval, True, "none", 0)
    assert network.vision_model is not None
    if is_first():
        encode_pictures(network.vision_model.eval(), pictures, config, work / "shipped-patches.f16")
    wait()
    patches = encode_pictures(network.vision_model, pictures, config, work / "shipped-patches.f16")
    stage = recipe.asking
    reader = load_tokenizer(retrieval, stage.text_limit, rows=config.qformer_config.vocab_size)
    model = join(retrieval, language, words, recipe)
    learner = AnswerLearner(model)
    pack = packer(words, reader, stage)
    stages = {
        "asking": recipe.asking,
        "settling": recipe.settling,
        "refining": recipe.refining,
        "counting": recipe.counting,
    }
    for number, (name, part) in enumerate(stages.items()):
        maker = InstructionMaker(pictures.scenes, patches, pack, recipe, part, recipe.seed + number)
        train_asking(learner, maker, work / f"{name}.pt")
    if is_first():
        save_asking(out, model, words, retrieval)
        log.info("demo model that answers written to %s", out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.training.make_asking")
    parser.add_argument("retrieval", type=Path, help="folder of the demo model that embeds and judges")
    parser.add_argument("out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--work", type=Path, default=Path("build/demo-model"), help="intermediate results")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    start_together()
    torch.set_num_threads(1 if torch.distributed.is_initialized() else torch.get_num_threads())
    make(given.retrieval, given.out, given.work, AskingRecipe())


if __name__ == "__main__":
    main()
