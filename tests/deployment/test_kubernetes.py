"""The example for the Locust operator, without the operator's CRD; `make test-kubernetes` validates it against that."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe_ext.access.scenario import find_locustfile
from probe_ext.settings.options import OPTIONS
from probe_ext.settings.secrets import API_KEY_VARIABLE
from scripts.containers.kubernetes import EXAMPLE, problems

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def spec(parts: dict[str, Any]) -> Any:
    return parts["LocustTest"]["spec"]


def test_it_has_the_validated_api_version(parts: dict[str, Any]) -> None:
    assert parts["LocustTest"]["apiVersion"] == "locust.io/v2"
    assert set(parts) == {"PersistentVolumeClaim", "LocustTest"}


def test_its_variables_are_valid_options_and_its_api_key_is_a_secret(spec: Any) -> None:
    names = [variable["name"] for variable in spec["env"]["variables"]]
    assert set(names) <= {option.variable for option in OPTIONS}
    for variable in spec["env"]["variables"]:
        option = next(one for one in OPTIONS if one.variable == variable["name"])
        option.read(variable["value"])  # raises for an invalid value
        assert isinstance(variable["value"], str)
    assert API_KEY_VARIABLE not in names
    assert [secret["name"] for secret in spec["env"]["secretRefs"]] == ["probe-api-key"]


def test_its_paths_and_user_match_the_image(parts: dict[str, Any], spec: Any) -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    volume, user = re.findall(r"^VOLUME (\S+)$", image, re.M), re.findall(r"^USER (\d+):(\d+)$", image, re.M)[0]
    mounts = {mount["name"]: mount for mount in spec["volumeMounts"]}
    assert [mounts["reports"]["mountPath"]] == volume
    assert mounts["reports"]["target"] == "master"
    security = spec["security"]["podSecurityContext"]
    assert (str(security["runAsUser"]), str(security["runAsGroup"])) == user
    claims = {one["name"]: one.get("persistentVolumeClaim") for one in spec["volumes"]}
    assert claims["reports"] == {"claimName": parts["PersistentVolumeClaim"]["metadata"]["name"]}
    for side in ("master", "worker"):
        flag, locustfile, *_ = spec[side]["command"].split()
        assert flag == "--locustfile"  # starts with an option, so the image's entry point passes it on to Locust
        assert find_locustfile(Path(locustfile).stem) == ROOT / locustfile


def test_it_exits_by_itself_with_the_run_s_exit_code(spec: Any) -> None:
    assert spec["master"]["extraArgs"] == ["--headless"]
    assert spec["master"]["autostart"] is False
    assert spec["master"]["autoquit"]["enabled"] is False


CRD = {
    "spec": {
        "group": "locust.io",
        "names": {"kind": "LocustTest"},
        "versions": [
            {
                "name": "v2",
                "served": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "format": "int32"},
                                    "size": {"anyOf": [{"type": "string"}], "x-kubernetes-int-or-string": True},
                                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
                                },
                            },
                        },
                    }
                },
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("spec", "problem_count"),
    [
        ({"replicas": 2, "size": 3, "labels": {"any": "thing"}, "list": [{"a": 1}]}, 0),
        ({"replicas": "two"}, 1),
        ({"replica": 2}, 1),
        ({"list": [{"b": 1}], "size": [1]}, 2),
    ],
)
def test_validation_finds_what_kubernetes_would_reject_or_drop(spec: dict[str, Any], problem_count: int) -> None:
    head = {"apiVersion": "locust.io/v2", "kind": "LocustTest", "metadata": {"name": "x", "labels": {"a": "b"}}}
    assert len(problems({**head, "spec": spec}, CRD)) == problem_count


def test_validation_rejects_another_version_or_kind() -> None:
    assert problems({"apiVersion": "locust.io/v1", "kind": "LocustTest"}, CRD) == ["apiVersion: v1 is not one of v2"]
    assert problems({"apiVersion": "other/v2", "kind": "LocustTest"}, CRD)
