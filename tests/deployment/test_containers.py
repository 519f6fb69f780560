"""The container files, checked without a Docker engine; `make test-compose` runs them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe_ext.settings.options import OPTIONS
from probe_ext.settings.prometheus_access import AUTH_VARIABLE
from probe_ext.settings.secrets import API_KEY_VARIABLE, HOSTS_VARIABLE, SWARM_TOKEN_VARIABLE, WEB_PASSWORD_VARIABLE
from probe_ext.tls_trust import PASSPHRASE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
OWN_SERVICES = ("sim", "master", "worker")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def pins(lock: str) -> dict[str, set[str]]:
    """Return the hashes of each pinned requirement of a lock file."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if "==" in line]
    return {line[0]: {word for word in line if word.startswith("--hash=")} for line in lines}


def test_every_service_has_a_health_check_and_few_privileges(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
    for name in OWN_SERVICES:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"PYTHON_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert len(images) == len(compose["services"]) + 1
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*}?$", image), image


def test_environment_variables_are_passed_on_without_values(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        passed = service.get("environment", [])
        given = passed if isinstance(passed, dict) else dict(entry.partition("=")[::2] for entry in passed)
        assert not any(given.values()), name
    assert "PROBE_API_KEY" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_each_container_gets_what_it_needs_and_no_more(compose: dict[str, Any]) -> None:
    secrets = [API_KEY_VARIABLE, SWARM_TOKEN_VARIABLE, PASSPHRASE_VARIABLE]
    options = [option.variable for option in OPTIONS]
    master = [*secrets, AUTH_VARIABLE, WEB_PASSWORD_VARIABLE, HOSTS_VARIABLE, *options]
    for name, needed in (("master", master), ("worker", secrets), ("sim", [])):
        passed = [entry for entry in compose["services"][name].get("environment", []) if entry.startswith("PROBE_")]
        assert sorted(passed) == sorted(needed), name


def test_ports_are_published_on_loopback_only_by_default(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    for port in ports:
        assert re.match(r"\$\{[A-Z_]+:-127\.0\.0\.1:\d+\}:\d+$", port), port


def test_the_image_runs_as_an_unprivileged_user() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("USER ") > text.rindex("COPY ")


def test_every_copied_path_exists_and_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for source in {word for line in copied for word in line.split()}:
        assert f"!{source}" in ignore, source
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("lock", ["docker/run.lock", "docker/build.lock"])
def test_the_image_has_the_tested_versions(lock: str) -> None:
    tested, shipped = pins("requirements.lock"), pins(lock)
    assert shipped
    for name, hashes in shipped.items():
        assert hashes, f"{name} has no hash"
        assert tested.get(name) == hashes, name


def test_the_image_has_no_development_dependencies() -> None:
    shipped = {pin.partition("==")[0] for pin in pins("docker/run.lock")}
    assert "locust" in shipped
    assert not shipped & {"ruff", "mypy", "hypothesis", "import-linter", "hatchling"}
