"""Is docs/kubernetes/load-test.yaml what the Locust operator takes? `make test-kubernetes`.

It is held against the operator's own definition of its resource (CRD), of one version, fetched once and known by its
checksum; `LOCUST_CRD=FILE` names one that is here already. Without either it says so and checks nothing.
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

NOT_HERE = 77
EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "kubernetes" / "load-test.yaml"
VERSION = "2.3.0"
COMMIT = "29c1c8a3be5aa93849be9a78743b9732ab0d91bc"
CHECKSUM = "f40f20ce1efd244050b630a376889f3984bf730be72db9f2a8c58e6d0c0b93ca"
URL = (
    "https://raw.githubusercontent.com/AbdelrhmanHamouda/locust-k8s-operator/"
    f"{COMMIT}/config/crd/bases/locust.io_locusttests.yaml"
)
LARGEST = 4 * 1024 * 1024


def main() -> int:
    """0 when the example fits, 1 when not, 77 without a definition to hold it against."""
    text = definition()
    if isinstance(text, OSError):
        print(f"SKIPPED: the operator's CRD is not to be had ({text}); the example was NOT checked", file=sys.stderr)
        return NOT_HERE
    if hashlib.sha256(text).hexdigest() != CHECKSUM:
        print(f"FAILED: the CRD is not that of operator {VERSION}: another checksum", file=sys.stderr)
        return 1
    [test] = [one for one in yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")) if one["kind"] == "LocustTest"]
    found = problems(test, yaml.safe_load(text))
    for problem in found:
        print(f"{EXAMPLE.name}: {problem}")
    print(f"{EXAMPLE.name} against operator {VERSION}: {'does not fit' if found else 'fits'}")
    return 1 if found else 0


def definition() -> bytes | OSError:
    """The CRD's text, from a file, from what was fetched before, or fetched now."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probe-ext" / f"locusttest-{COMMIT}.yaml"
    here = Path(os.environ.get("LOCUST_CRD") or cache)
    try:
        if here.exists() or here != cache:
            return here.read_bytes()
        with urllib.request.urlopen(URL, timeout=30) as answer:  # noqa: S310 - a constant https address
            text: bytes = answer.read(LARGEST)
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(text)
    except OSError as error:
        return error
    return text


def problems(resource: dict[str, Any], crd: dict[str, Any]) -> list[str]:
    """Where a resource breaks its definition: wrong types, missing fields, and fields that Kubernetes would drop."""
    group, _, version = resource["apiVersion"].partition("/")
    if (group, resource["kind"]) != (crd["spec"]["group"], crd["spec"]["names"]["kind"]):
        return [f"{resource['apiVersion']} {resource['kind']} is not what the definition is of"]
    schemas = {one["name"]: one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"] if one["served"]}
    if version not in schemas:
        return [f"apiVersion: {version} is not one of {', '.join(schemas)}"]
    strict = closed(schemas[version])
    strict["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    errors = jsonschema.Draft202012Validator(strict).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in errors]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with no room for fields that it does not name; Kubernetes drops such fields without a word."""
    found = copy.deepcopy(schema)
    _close(found)
    return found


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    if not isinstance(schema, dict):
        return
    if schema.pop("x-kubernetes-int-or-string", None):
        schema.pop("anyOf", None)
        schema["type"] = ["integer", "string"]
    schema.pop("format", None)
    named = isinstance(schema.get("properties"), dict)
    if named and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    for key, value in schema.items():
        if key == "properties":
            for one in value.values():
                _close(one)
        elif key != "required":
            _close(value)


if __name__ == "__main__":
    sys.exit(main())
