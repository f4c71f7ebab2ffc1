"""Collections that version 0.1 bound to a model stay with it; nothing is loaded twice for their sake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sightline.blip import checkpoint
from sightline.blip.fingerprints import fingerprint, former_fingerprint
from sightline.errors import ModelMismatchError
from sightline.records import SearchRequest
from sightline.serving.models import Identity
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save

DEMO = checkpoint.DEMO_FOLDER


def bind(services: Installation, name: str, identity: Identity, fingerprint: str) -> None:
    """A collection as version 0.1 made it."""
    services.catalog.create_collection(
        name,
        model=identity.model,
        revision=identity.revision,
        fingerprint=fingerprint,
        num_query_tokens=identity.num_query_tokens,
        joint_dim=identity.joint_dim,
    )


@pytest.fixture
def demo(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "model": replace(settings.model, name="demo"),
            "indexer": replace(settings.indexer, patch_codec="latent", codec_sample=2),
        }
    )


def test_a_collection_of_version_0_1_is_filled_searched_and_found_sound(
    demo: Settings, tmp_path: Path
) -> None:
    former = former_fingerprint(DEMO)
    for name, colour in {"a": "red", "b": "blue", "c": "green"}.items():
        save(tmp_path / "first", name, colour)
    save(tmp_path / "second", "d", "yellow")
    with open_installation(demo, inline=True) as services:
        bind(services, "old", services.models.identify("demo"), former)
        index(services, tmp_path / "first", "old")
        index(services, tmp_path / "second", "old")
        assert services.collections.create("old", "demo").fingerprint == former
        found = services.search.find(SearchRequest("old", "a red square", limit=4))
        assert len(found.results) == 4
        assert all(hit.match_probability is not None for hit in found.results)
        new = services.collections.create("new", "demo")
        assert new.fingerprint == fingerprint(DEMO) != former
        index(services, tmp_path / "first", "new")
        index(services, tmp_path / "second", "new")
        again = services.search.find(SearchRequest("new", "a red square", limit=4))
        assert [hit.itc for hit in again.results] == pytest.approx(
            [hit.itc for hit in found.results], abs=1e-3
        )
        old, fresh = (services.models.encoder(services.catalog.collection(name)) for name in ("old", "new"))
        assert (old.fingerprint, fresh.fingerprint) == (former, new.fingerprint)
        assert old.network is fresh.network
        assert old.vision is fresh.vision
        assert services.models.loaded() == [new.fingerprint]
        told = services.doctor.examine()
    assert not [one for one in told if one.status == "problem" and "worker" not in one.subject]


def test_a_fingerprint_of_other_files_is_refused_as_ever(demo: Settings) -> None:
    with open_installation(demo, inline=True) as services:
        bind(services, "other", services.models.identify("demo"), "0" * 64)
        with pytest.raises(ModelMismatchError, match="another version of demo"):
            services.models.encoder(services.catalog.collection("other"))
        with pytest.raises(ModelMismatchError):
            services.collections.create("other", "demo")
