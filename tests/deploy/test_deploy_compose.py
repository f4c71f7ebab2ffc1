"""The compose files, read as what they are: nothing here can start them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from sightline.cli.main import app
from sightline.errors import InputError
from sightline.processes.up import with_port
from sightline.settings import Settings, knobs

ROOT = Path(__file__).parents[2]
OURS = {"api": "serve", "worker": "worker", "builder": "builder", "migrate": "migrate"}


@pytest.fixture
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_all_services_are_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*OURS, "postgres", "valkey"}


def test_commands_are_commands_of_ours(compose: dict[str, Any]) -> None:
    known = set(getattr(get_command(app), "commands", {}))
    for service, command in OURS.items():
        assert compose["services"][service]["command"] == [command]
        assert command in known
        test = compose["services"][service].get("healthcheck", {}).get("test", [])
        if "sightline" in test:
            assert test[test.index("sightline") + 1] in known


def test_variables_are_settings_of_ours(compose: dict[str, Any]) -> None:
    known = {knob.variable for knob in knobs()}
    for service in OURS:
        variables = set(compose["services"][service]["environment"])
        assert variables <= known
        assert {"SIGHTLINE_DATA", "SIGHTLINE_DATABASE_URL", "SIGHTLINE_BROKER__URL"} <= variables


def test_what_stays_up_has_a_health_check_and_a_restart_policy(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name != "migrate":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped"


def test_nothing_starts_before_the_migration_and_the_broker(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for service in ("api", "worker", "builder"):
        waits = {name: how["condition"] for name, how in services[service]["depends_on"].items()}
        assert waits == {"migrate": "service_completed_successfully", "valkey": "service_healthy"}


def test_what_must_last_lies_on_declared_volumes(compose: dict[str, Any]) -> None:
    declared = set(compose["volumes"])
    for name, service in compose["services"].items():
        used = {volume.split(":")[0] for volume in service["volumes"]}
        assert used <= declared, name
    for service in OURS:
        assert "data:/data" in compose["services"][service]["volumes"]
        assert compose["services"][service]["environment"]["SIGHTLINE_DATA"] == "/data"


def test_the_gpu_file_only_overrides(compose: dict[str, Any]) -> None:
    gpu = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())["services"]
    assert set(gpu) == set(OURS)
    for name, service in gpu.items():
        assert set(service) <= {"build", "image", "deploy"}, name
        assert service["build"]["target"] == "gpu"
    for name in ("api", "worker"):
        devices = gpu[name]["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_the_milvus_file_adds_a_server_that_only_our_containers_reach(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.milvus.yml").read_text()
    milvus = yaml.safe_load(text)
    added = {name: one for name, one in milvus["services"].items() if name not in compose["services"]}
    assert set(added) == {"etcd", "minio", "milvus"}
    for name, service in added.items():
        assert re.fullmatch(r"[\w./-]+:\S*\d\S*", service["image"]), f"{name} is pinned to a version"
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped"
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(milvus["volumes"]), name
        assert "ports" not in service, name
    assert {how for _, how in re.findall(r"\$\{(\w*PASSWORD\w*)(:?.)", text)} == {":?"}
    known = {knob.variable for knob in knobs()}
    for name in ("api", "worker", "builder"):
        ours = milvus["services"][name]
        assert set(ours) == {"environment"}
        assert set(ours["environment"]) <= known
        assert ours["environment"]["SIGHTLINE_RETRIEVER__MILVUS_URI"] == "http://milvus:19530"


def test_images_bring_what_the_compose_files_need() -> None:
    dockerfile, lock = (ROOT / "Dockerfile").read_text(), (ROOT / "requirements.lock").read_text()
    assert "faiss-gpu,postgres,redis,milvus]" in dockerfile
    assert re.search(r"^pymilvus==", lock, re.M), "make lock"


def test_ports_are_published_on_this_machine_only(compose: dict[str, Any]) -> None:
    published = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert {name for name, ports in published.items() if ports} == {"api"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_nothing_starts_without_secrets_of_ones_own() -> None:
    """Each is required wherever it is used (``:?``), and none has a default that everybody knows."""
    text = (ROOT / "docker-compose.yml").read_text()
    used = re.findall(r"\$\{(\w*(?:KEY|PASSWORD|SECRET|TOKEN)\w*)(:?.)", text)
    assert {name for name, _ in used} == {"SIGHTLINE_API__KEY", "POSTGRES_PASSWORD"}
    assert {how for _, how in used} == {":?"}
    # The comment at the top, which two lines of a shell follow, writes both.
    assert "SIGHTLINE_API__KEY=%s\\nPOSTGRES_PASSWORD=%s" in text


def test_the_image_listens_everywhere_and_so_wants_a_key(tmp_path: Path) -> None:
    """What the image runs, with the variables that it sets: refused in one sentence until there is a key."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    variables = dict(re.findall(r"(SIGHTLINE_\w+)=(\S+)", dockerfile))
    assert variables["SIGHTLINE_API__HOST"] == "0.0.0.0"
    assert re.findall(r'^CMD \["(\w+)"\]', dockerfile, re.M) == ["up", "up"]
    settings = Settings(data=tmp_path / "data")
    api = replace(settings.api, host=variables["SIGHTLINE_API__HOST"], port=0)
    settings = settings.model_copy(update={"api": api})
    with pytest.raises(InputError, match="SIGHTLINE_API__KEY"):
        with_port(settings)
    keyed = settings.model_copy(update={"api": replace(api, key="sesame")})
    assert with_port(keyed).api.port > 0


def test_the_dockerfile_has_the_targets_and_every_package(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.M))
    assert {"cpu", "gpu"} <= targets
    linked = {path.name for path in (ROOT / "sightline").iterdir() if path.is_symlink()}
    for package in {"sightline", *linked}:
        assert f"COPY {package} {package}\n" in dockerfile
