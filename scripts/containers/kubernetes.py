"""Validate docs/kubernetes/load-test.yaml against the Locust operator's CRD: `make test-kubernetes`.

The CRD of one operator version is downloaded once and verified by its checksum; `LOCUST_CRD=FILE` uses a local copy. If
neither is available, the script says so, checks nothing and exits with code 77.
"""

import copy
import hashlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from scripts.containers.expectations import EXIT_SKIPPED

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes" / "load-test.yaml"
VERSION = "2.3.0"
COMMIT = "29c1c8a3be5aa93849be9a78743b9732ab0d91bc"
CHECKSUM = "f40f20ce1efd244050b630a376889f3984bf730be72db9f2a8c58e6d0c0b93ca"
URL = (
    "https://raw.githubusercontent.com/AbdelrhmanHamouda/locust-k8s-operator/"
    f"{COMMIT}/config/crd/bases/locust.io_locusttests.yaml"
)
MAX_CRD_BYTES = 4 * 1024 * 1024


def main() -> int:
    """Return 0 if the example is valid, 1 if not, 77 without a CRD."""
    text = load_crd()
    if isinstance(text, OSError):
        print(f"SKIPPED: the operator's CRD is not available ({text}); the example was NOT checked", file=sys.stderr)
        return EXIT_SKIPPED
    if hashlib.sha256(text).hexdigest() != CHECKSUM:
        print(f"FAILED: wrong checksum; this is not the CRD of operator {VERSION}", file=sys.stderr)
        return 1
    [test] = [doc for doc in yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")) if doc["kind"] == "LocustTest"]
    errors = problems(test, yaml.safe_load(text))
    for problem in errors:
        print(f"{EXAMPLE.name}: {problem}")
    print(f"{EXAMPLE.name} against operator {VERSION}: {'invalid' if errors else 'valid'}")
    return 1 if errors else 0


def load_crd() -> bytes | OSError:
    """Return the CRD from LOCUST_CRD, the cache, or the network; an OSError if that fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probe-ext" / f"locusttest-{COMMIT}.yaml"
    path = Path(os.environ.get("LOCUST_CRD") or cache)
    try:
        if path.exists() or path != cache:
            return path.read_bytes()
        with urllib.request.urlopen(URL, timeout=30) as response:  # noqa: S310 - a constant https address
            text: bytes = response.read(MAX_CRD_BYTES)
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(text)
    except OSError as error:
        return error
    return text


def problems(resource: dict[str, Any], crd: dict[str, Any]) -> list[str]:
    """List violations of the CRD: wrong types, missing fields, and fields that Kubernetes would drop."""
    group, _, version = resource["apiVersion"].partition("/")
    if (group, resource["kind"]) != (crd["spec"]["group"], crd["spec"]["names"]["kind"]):
        return [f"{resource['apiVersion']} {resource['kind']} does not match the CRD"]
    schemas = {v["name"]: v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["served"]}
    if version not in schemas:
        return [f"apiVersion: {version} is not one of {', '.join(schemas)}"]
    strict = forbid_unknown_fields(schemas[version])
    strict["properties"]["metadata"] = {"type": "object"}  # defined by Kubernetes itself
    errors = jsonschema.Draft202012Validator(strict).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in errors]


def forbid_unknown_fields(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the schema that rejects unknown fields, which Kubernetes would drop silently."""
    strict = copy.deepcopy(schema)
    _forbid_unknown_fields(strict)
    return strict


def _forbid_unknown_fields(schema: Any) -> None:
    if isinstance(schema, list):
        for item in schema:
            _forbid_unknown_fields(item)
    if not isinstance(schema, dict):
        return
    if schema.pop("x-kubernetes-int-or-string", None):
        schema.pop("anyOf", None)
        schema["type"] = ["integer", "string"]
    schema.pop("format", None)
    has_properties = isinstance(schema.get("properties"), dict)
    if (
        has_properties
        and "additionalProperties" not in schema
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        schema["additionalProperties"] = False
    for key, value in schema.items():
        if key == "properties":
            for item in value.values():
                _forbid_unknown_fields(item)
        elif key != "required":
            _forbid_unknown_fields(value)


if __name__ == "__main__":
    sys.exit(main())
