"""docker-compose.yml against the settings: every variable exists, every port and address agrees, everything is watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rag.runtime.settings import variables
from services.tree import SERVICES, settings_of

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def environment(name: str) -> dict[str, str]:
    return COMPOSE["services"][name]["environment"]


def port(name: str) -> str:
    return environment(name)[f"{name.upper()}_PORT"]


def test_the_five_services_and_a_redis() -> None:
    assert set(COMPOSE["services"]) == {*SERVICES, "redis"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_is_a_setting(name: str) -> None:
    assert set(environment(name)) <= set(variables(settings_of(name)).values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_value_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, "" if value.startswith("${") else value)
    settings = settings_of(name)()
    assert str(settings.port) == port(name)
    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_the_defaults_of_the_settings(name: str) -> None:
    fields = settings_of(name).model_fields
    assert str(fields["port"].default) == port(name)
    if name != "gateway":
        assert str(fields["metrics_port"].default) == environment(name)[f"{name.upper()}_METRICS_PORT"]


@pytest.mark.parametrize("name", SERVICES)
def test_addresses_are_where_the_services_listen(name: str) -> None:
    for other in SERVICES:
        if other != "gateway":
            assert environment(name)[f"{other.upper()}_ADDRESS"] == f"{other}:{port(other)}"
    assert environment(name)["REDIS_URL"] == "redis://redis:6379/0"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_by_the_probe(name: str) -> None:
    test = COMPOSE["services"][name]["healthcheck"]["test"]
    assert test == ["CMD", "python", "-m", "rag.runtime.probe", f"127.0.0.1:{port(name)}"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_built_from_the_one_dockerfile(name: str) -> None:
    assert COMPOSE["services"][name]["build"] == {"context": ".", "args": {"SERVICE": name}}


def test_only_the_gateway_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8080:8080", "127.0.0.1:50050:50050"]}
    assert environment("gateway")["GATEWAY_HTTP_PORT"] == "8080"


def test_redis_keeps_what_it_acknowledged() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert "healthcheck" in COMPOSE["services"]["redis"]


def test_whoever_keeps_data_has_a_volume() -> None:
    keeps = {name for name, service in COMPOSE["services"].items() if service.get("volumes")}
    assert keeps == {"redis", "embedder", "retriever", "ingestor", "gateway"}
    assert set(COMPOSE["volumes"]) == keeps


def test_the_dockerfile_copies_only_what_is_let_in() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == allowed
