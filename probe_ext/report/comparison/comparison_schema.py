"""JSON Schema of `compare.json`, derived from the dataclasses of the comparison.

`python -m probe_ext.report.comparison.comparison_schema > docs/compare.schema.json` updates the published copy.
"""

import json
import sys
from functools import cache

import jsonschema

from probe_ext.compare.values import COMPARISON_SCHEMA, Comparison
from probe_ext.report.outputs.capacity_schema import Schema, schema_of


def validate(comparison: Schema) -> None:
    """Check `compare.json` before it is written. jsonschema.ValidationError is an internal error."""
    _validator().validate(comparison)


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(comparison_schema(described=False))


def comparison_schema(*, described: bool = True) -> Schema:
    """Return the schema, with docstrings as descriptions unless `described` is false."""
    return schema_of(Comparison, "compare.json", COMPARISON_SCHEMA, described=described)


if __name__ == "__main__":
    json.dump(comparison_schema(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
