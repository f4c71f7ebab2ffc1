"""The compose files, read as what they are: nothing here can start them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from sightline.cli.main import app
from sightline.settings import knobs

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


def test_the_dockerfile_has_the_targets_and_every_package(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.M))
    assert {"cpu", "gpu"} <= targets
    linked = {path.name for path in (ROOT / "sightline").iterdir() if path.is_symlink()}
    for package in {"sightline", *linked}:
        assert f"COPY {package} {package}\n" in dockerfile
