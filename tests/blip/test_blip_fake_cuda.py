"""On a GPU no operation meets tensors of two devices: everything runs once on CUDA tensors without values.

FakeTensorMode knows devices, types and shapes and raises where two devices meet; it needs no GPU. Only the
subscript of a CPU build looks for CUDA before the mode is asked, so it is spelled with operators here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from sightline.blip.blip import Blip
from sightline.blip.blip2 import Blip2
from sightline.blip.latents import Basis, Latents
from sightline.blip.match_precision import PairScorers
from sightline.blip.patch_codec import PatchCodec, quantise
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip

CUDA = torch.device("cuda", 0)
RANK = 24
Placed = Blip2 | Blip


class Subscripts(TorchFunctionMode):
    """``x[…]`` by select, slice and index_select."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__getitem__:
            return part_of(*args)
        if func is Tensor.__setitem__:
            return torch.ops.aten.copy(part_of(*args[:2]), args[2])
        return func(*args, **(kwargs or {}))


def part_of(x: Tensor, subscript: Any) -> Tensor:
    axis = 0
    for one in subscript if isinstance(subscript, tuple) else (subscript,):
        if isinstance(one, int):
            x = x.select(axis, one)
            continue
        if one is None:
            x = x.unsqueeze(axis)
        elif isinstance(one, slice):
            x = torch.ops.aten.slice(x, axis, *one.indices(x.shape[axis]))
        else:
            x = x.index_select(axis, torch.as_tensor(one, device=x.device))
        axis += 1
    return x


@contextmanager
def fake_gpu() -> Iterator[None]:
    with FakeTensorMode(), Subscripts():
        yield


def place(module: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Parameters and buffers on the GPU that is not there."""
    for part in module.modules():
        for name, value in [*part._parameters.items()]:
            if value is not None:
                empty = torch.empty(value.shape, dtype=dtype or value.dtype, device=CUDA)
                part._parameters[name] = nn.Parameter(empty, requires_grad=value.requires_grad)
        for name, buffer in [*part._buffers.items()]:
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)


def on_gpu(model: Placed) -> Placed:
    """What a load with ``device="cuda"`` would give."""
    vision = model.vision.model
    assert isinstance(vision, nn.Module)
    place(model.network)
    place(vision, torch.bfloat16)
    model.device = model.vision._device = CUDA
    model.vision.dtype = torch.bfloat16
    model.scorers = PairScorers(model.network, "bfloat16")
    return model


@pytest.fixture(scope="module", params=["blip2", "blip"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Placed]:
    folder = tmp_path_factory.mktemp(request.param)
    write = write_random_checkpoint if request.param == "blip2" else write_random_blip
    loader = Blip2 if request.param == "blip2" else Blip
    return lambda: loader(write(folder), device="cpu", dtype="float32", fingerprint="any")


@pytest.fixture
def model(make: Callable[[], Placed]) -> Iterator[Placed]:
    made = make()
    assert made.vision.model is not None  # read while tensors have values
    with fake_gpu():
        yield on_gpu(made)


def latents(model: Placed, count: int) -> Latents:
    """As the cache gives them: on the CPU."""
    patches, width = model.patch_shape
    codes = torch.zeros(count, patches, RANK, dtype=torch.int8)
    basis = Basis("basis", torch.zeros(RANK, width), torch.zeros(width))
    return Latents(codes, torch.zeros(count, patches, dtype=torch.float16), basis)


def dense(model: Placed, count: int) -> Tensor:
    return torch.zeros(count, *model.patch_shape, dtype=torch.float16)


def test_two_devices_that_meet_are_noticed() -> None:
    with fake_gpu(), pytest.raises(RuntimeError, match="same device"):
        torch.zeros(3, device=CUDA) + torch.zeros(3)


def test_pictures_and_texts_are_embedded(model: Placed) -> None:
    side = model.config.vision_config.image_size
    patches = model.encode_patches(torch.zeros(3, 3, side, side))
    assert (patches.device, patches.dtype) == (CUDA, torch.bfloat16)
    assert patches.shape == (3, *model.patch_shape)
    tokens = model.encode_image(patches)
    assert (tokens.device, tokens.dtype) == (CUDA, torch.float32)
    assert model.encode_text(["a red cat"]).device == CUDA


@pytest.mark.parametrize("kept", [latents, dense])
@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_pairs_are_judged_from_what_is_kept(
    model: Placed, kept: Callable[[Placed, int], Tensor | Latents], precision: str
) -> None:
    logits = model.match(["a red cat"], kept(model, 5), "exact" if precision == "exact" else "fast")
    assert (logits.device, logits.dtype, logits.shape) == (CUDA, torch.float32, (5, 2))


def test_texts_of_their_own_are_judged(model: Placed) -> None:
    with torch.inference_mode():
        ids, valid = model.tokenizer.batch(["a red cat", "a dog"], CUDA)
        patches = latents(model, 2).to(CUDA).patches()
        assert model.network.itm_logits(patches, ids, valid).device == CUDA


@pytest.mark.parametrize("kept", [latents, dense])
def test_pairs_stop_between_layers_and_go_on(
    model: Placed, kept: Callable[[Placed, int], Tensor | Latents]
) -> None:
    states = model.look("a dog", kept(model, 6), 1)
    assert (states.pooled().device, len(states)) == (CUDA, 6)
    states = model.look_on(states.of([0, 2, 3]), kept(model, 3), model.match_layers)
    assert model.decide(states).device == CUDA


def test_patches_are_compressed_where_they_are(model: Placed) -> None:
    count, width = model.patch_shape
    codec = PatchCodec(
        torch.zeros(width, RANK), Basis("basis", torch.zeros(RANK, width), torch.zeros(width)), "any", 1
    )
    patches = torch.zeros(2, count, width, dtype=torch.bfloat16, device=CUDA)
    assert {one.device for one in codec.pack(patches)} == {CUDA}
    assert quantise(patches, None).codes.device == CUDA
