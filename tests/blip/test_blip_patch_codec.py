"""The patch codec is the best linear latent in the metric of the cross-attention, and its files are safe.

Oracles: closed forms in numpy, and W(p − p̂) computed with the projections themselves.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sightline.blip.network import Blip2Network
from sightline.blip.patch_codec import PatchCodec, fit, from_bytes, quantise, to_bytes
from sightline.blip.patch_metric import cross_attention_metric
from sightline.blip.patch_moments import PatchMoments
from sightline.blip.patch_size import default_rank, image_bytes
from sightline.blip.random_weights import randomise, small_config
from sightline.errors import CorruptionError, InputError, ModelMismatchError

WIDTH = 24
FINGERPRINT = "a" * 64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def anisotropic(images: int, seed: int = 0) -> Tensor:
    """Patches ``[images,9,24]`` whose variances span four decades, far from the origin."""
    turn = torch.linalg.qr(drawn(WIDTH, WIDTH, seed=99))[0]
    spread = torch.logspace(1, -1, WIDTH)
    return (drawn(images, 9, WIDTH, seed=seed) * spread) @ turn + 50.0


def projections() -> Tensor:
    """W ``[40,24]``: sees most where the patches vary least."""
    turn = torch.linalg.qr(drawn(WIDTH, WIDTH, seed=99))[0]
    return drawn(40, WIDTH, seed=5) @ torch.diag(torch.logspace(-1.5, 1.5, WIDTH)) @ turn


def fitted(patches: Tensor, metric: Tensor, rank: int) -> PatchCodec:
    return fit(lambda: patches.split(7), metric, FINGERPRINT, rank, False)


def linear_error(patches: Tensor, encoder: Tensor, components: Tensor, mean: Tensor, seen: Tensor) -> float:
    """Mean ‖W(p − p̂)‖² without int8, in fp64."""
    centred = (patches - mean).flatten(0, 1).double()
    lost = centred - centred @ encoder.double() @ components.double()
    return float((lost @ seen.double().T).square().sum(dim=1).mean())


def test_moments_are_those_of_all_patches_together() -> None:
    patches = anisotropic(50) + 1000.0
    moments = PatchMoments(WIDTH)
    for part in patches.split(11):
        moments.add(part)
    rows = patches.flatten(0, 1).double().numpy()
    assert moments.images == 50
    np.testing.assert_allclose(moments.mean.numpy(), rows.mean(axis=0), rtol=1e-7)
    expected = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(moments.covariance.numpy(), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_no_linear_latent_of_this_rank_loses_less_of_what_the_cross_attention_sees(rank: int) -> None:
    patches, seen = anisotropic(200), projections()
    codec = fitted(patches, seen.T @ seen, rank)
    ours = linear_error(patches, codec.encoder, codec.basis.components, codec.basis.mean, seen)
    centred = (patches.flatten(0, 1).double() - patches.flatten(0, 1).double().mean(dim=0)).numpy()
    looks = centred @ seen.double().numpy().T
    singular = np.linalg.svd(looks, compute_uv=False)
    least = (singular[rank:] ** 2).sum() / len(looks)  # Eckart and Young: no matrix of this rank does better
    assert ours == pytest.approx(least, rel=1e-3)
    raw = np.linalg.svd(centred, full_matrices=False)[2][:rank]  # plain PCA of the patches
    plain = torch.from_numpy(raw)
    mean = patches.flatten(0, 1).mean(dim=0)
    assert ours < 0.9 * linear_error(patches, plain.T, plain, mean, seen)


def test_at_full_rank_only_int8_loses_anything() -> None:
    patches, seen = anisotropic(60), projections()
    codec = fitted(patches, seen.T @ seen, WIDTH)
    latents = codec.encode(patches)
    exact = (patches - codec.basis.mean) @ codec.encoder @ codec.basis.components + codec.basis.mean
    assert torch.allclose(exact, patches, rtol=0, atol=2e-3)
    step = latents.scales.float()[:, :, None] / 2
    most = (step * codec.basis.components.abs().sum(dim=0)).expand_as(patches)
    assert bool(((latents.patches() - patches).abs() <= most + 2e-3).all())
    error = (latents.patches() - patches) @ seen.T
    centred = (patches - codec.basis.mean) @ seen.T
    assert float(error.norm() / centred.norm()) < 0.02


def test_directions_that_no_projection_sees_do_no_harm() -> None:
    patches, seen = anisotropic(60), projections().clone()
    seen[:, :10] = 0.0
    codec = fitted(patches, seen.T @ seen, WIDTH)
    assert codec.basis.rank == WIDTH - 10
    error = (codec.encode(patches).patches() - patches) @ seen.T
    assert float(error.norm() / ((patches - codec.basis.mean) @ seen.T).norm()) < 0.02
    assert bool(torch.isfinite(codec.basis.components).all())


def test_codes_are_within_half_a_step_and_use_the_whole_range() -> None:
    latent = drawn(5, 9, 16) * torch.logspace(-6, 6, 45).reshape(5, 9, 1)
    latent[0, 0] = 0.0
    latents = quantise(latent, None)
    step = latents.scales.float()[:, :, None]
    assert (latents.codes.dtype, latents.scales.dtype) == (torch.int8, torch.float16)
    assert bool(((latents.latent() - latent).abs() <= step / 2 * (1 + 1e-6)).all())
    assert bool((latents.codes[0, 0] == 0).all())
    normal = latents.scales > torch.finfo(torch.float16).tiny
    assert int(latents.codes[normal].abs().amax(dim=1).min()) >= 126
    assert int(latents.codes.min()) >= -127


def test_the_scale_is_the_smallest_half_that_loses_no_peak() -> None:
    peaks = drawn(1, 4000, 1).abs() * 1000
    scales = quantise(peaks, None).scales.flatten().numpy()
    wanted = peaks.flatten().numpy() / np.float32(127)
    assert (scales.astype(np.float32) >= wanted).all()
    below = (scales.view(np.uint16) - 1).view(np.float16)
    assert (below.astype(np.float32) < wanted).all()


def test_numbers_that_cannot_be_kept_show_in_the_scale() -> None:
    latent = torch.ones(1, 3, 4)
    latent[0, 0, 1], latent[0, 1, 2] = float("nan"), 1e9
    assert torch.isfinite(quantise(latent, None).scales).tolist() == [[False, False, True]]


def test_the_metric_is_what_queries_see_of_keys_and_what_becomes_of_values() -> None:
    network = Blip2Network(small_config(), with_vision=False)
    randomise(network)
    weights = {name: value.detach().double() for name, value in network.qformer.named_parameters()}
    error = drawn(48).double()
    keys = values = 0.0
    for layer in (0, 2):
        prefix = f"encoder.layer.{layer}.crossattention."
        query, key, value = (weights[f"{prefix}attention.{n}.weight"] for n in ("query", "key", "value"))
        for head in range(4):
            rows = slice(16 * head, 16 * head + 16)
            keys += float((query[rows].T @ (key[rows] @ error)).square().sum())
        values += float((weights[f"{prefix}output.dense.weight"] @ (value @ error)).square().sum())
    measured = [float(error @ part @ error) for part in cross_attention_metric(network)]
    assert measured == pytest.approx([keys, values], rel=1e-9)


def test_parts_of_a_metric_are_weighted_to_see_as_much() -> None:
    sample, one = anisotropic(50), projections()
    other = drawn(30, WIDTH, seed=8)
    parts = torch.stack([one.T @ one, other.T @ other]).double()
    codec = fit(lambda: [sample], parts, FINGERPRINT, 6, False)
    scaled = fit(lambda: [sample], parts * torch.tensor([1e4, 1e-3])[:, None, None], FINGERPRINT, 6, False)
    assert torch.allclose(codec.encode(sample).patches(), scaled.encode(sample).patches(), atol=0.1)


@pytest.mark.parametrize(("width", "rank"), [(1408, 240), (192, 32), (48, 6), (6, 1)])
def test_the_default_rank_takes_at_most_an_eleventh_of_fp16(width: int, rank: int) -> None:
    assert default_rank(width) == rank
    if width > 6:
        assert 2 * width / (rank + 2) >= 11
    if width == 1408:
        assert image_bytes("latent", 257, width) == 257 * 242 <= 64 * 1024
        assert image_bytes("latent", 677, width) == 677 * 242 <= 169 * 1024
        assert [image_bytes(level, 257, width) for level in ("none", "fp16", "int8")] == [0, 723_712, 362_370]


def test_a_file_gives_back_the_same_codec_and_its_id_is_its_content() -> None:
    patches = anisotropic(20)
    codec = fitted(patches, torch.eye(WIDTH, dtype=torch.float64), 6)
    read = from_bytes(to_bytes(codec), id=codec.id, fingerprint=FINGERPRINT)
    assert (read.id, read.images, read.fingerprint) == (codec.id, 20, FINGERPRINT)
    for one, other in (
        (read.encoder, codec.encoder),
        (read.basis.components, codec.basis.components),
        (read.basis.mean, codec.basis.mean),
    ):
        assert torch.equal(one, other)
    assert fitted(patches, torch.eye(WIDTH, dtype=torch.float64), 6).id == codec.id
    assert fitted(patches[1:], torch.eye(WIDTH, dtype=torch.float64), 6).id != codec.id


def test_a_damaged_foreign_or_other_file_is_refused() -> None:
    codec = fitted(anisotropic(20), torch.eye(WIDTH, dtype=torch.float64), 6)
    content = to_bytes(codec)
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content) - 4 * WIDTH * 13, len(content), 50):
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(CorruptionError):
            from_bytes(bytes(damaged), id=codec.id, fingerprint=FINGERPRINT)
    other = save({"encoder": codec.encoder})
    half = save(load(content) | {"mean": codec.basis.mean.half()})
    for bad in (b"", content[:100], content[:-1], b"x" * 200, other, half):
        with pytest.raises(CorruptionError):
            from_bytes(bad, id=codec.id, fingerprint=FINGERPRINT)
    with pytest.raises(CorruptionError, match="latent-000000000000"):
        from_bytes(content, id="latent-000000000000", fingerprint=FINGERPRINT)
    with pytest.raises(ModelMismatchError, match="another model"):
        from_bytes(content, id=codec.id, fingerprint="b" * 64)


def alike(images: int, seed: int = 0) -> Tensor:
    """Patches ``[images,9,24]`` that differ little within an image, of a flat spectrum."""
    whole = drawn(images, 1, WIDTH, seed=seed)
    return whole + 0.1 * drawn(images, 9, WIDTH, seed=seed + 1)


def test_a_grid_loses_less_than_each_patch_by_itself_in_the_same_bytes() -> None:
    metric = torch.eye(WIDTH, dtype=torch.float64)
    sample, judged = alike(400), alike(50, seed=7)
    errors = {}
    for grid in (False, True):
        codec = fit(lambda: sample.split(100), metric, FINGERPRINT, 4, grid)
        assert codec.image_bytes(9) == 9 * 6
        codes, scales = codec.pack(judged)
        assert codes[0].numel() + 2 * scales[0].numel() == 9 * 6
        errors[grid] = float((codec.unpack(codes, scales).patches() - judged).square().sum())
    assert errors[True] < 0.5 * errors[False]


def test_a_grid_travels_in_the_file_and_gives_the_same_latents() -> None:
    sample = alike(100)
    codec = fit(lambda: sample.split(30), torch.eye(WIDTH, dtype=torch.float64), FINGERPRINT, 4, True)
    read = from_bytes(to_bytes(codec), id=codec.id, fingerprint=FINGERPRINT)
    codes, scales = codec.pack(sample[:5])
    assert all(torch.equal(a, b) for a, b in zip((codes, scales), read.pack(sample[:5]), strict=True))
    ours, theirs = codec.unpack(codes, scales), read.unpack(codes, scales)
    assert torch.equal(ours.codes, theirs.codes)
    assert torch.equal(ours.scales, theirs.scales)
    assert codec.id != fit(lambda: [sample], torch.eye(WIDTH, dtype=torch.float64), FINGERPRINT, 4, False).id


def test_a_grid_shows_what_is_not_finite_and_takes_what_is_all_alike() -> None:
    sample = alike(100)
    codec = fit(lambda: [sample], torch.eye(WIDTH, dtype=torch.float64), FINGERPRINT, 4, True)
    odd = sample[:3].clone()
    odd[0, 2, 1] = float("nan")
    odd[1, 0, 0] = float("inf")
    odd[2] = codec.basis.mean
    scales = codec.pack(odd)[1]
    assert torch.isfinite(scales).flatten().tolist() == [False, False, True]


def test_a_flat_spectrum_gets_a_grid_and_a_steep_one_does_not() -> None:
    width = 96
    metric = torch.eye(width, dtype=torch.float64)
    for spread, rank in ((torch.ones(width), 60), (torch.logspace(3, -3, width), 15)):
        sample = drawn(100, 9, width) * spread
        codec = fit(lambda sample=sample: [sample], metric, FINGERPRINT)  # type: ignore[misc]
        assert (codec.basis.rank, codec.grid is not None) == (rank, rank == 60)
        assert codec.image_bytes(9) == (int(9 * 192 / 11.05) if rank == 60 else 9 * 17)


@pytest.mark.parametrize("rank", [0, WIDTH + 1])
def test_an_impossible_rank_is_refused(rank: int) -> None:
    with pytest.raises(InputError, match="rank"):
        fitted(anisotropic(3), torch.eye(WIDTH, dtype=torch.float64), rank)


def test_nothing_can_be_fitted_to_no_patches() -> None:
    with pytest.raises(InputError, match="no patches"):
        fit(list, torch.eye(WIDTH, dtype=torch.float64), FINGERPRINT)
