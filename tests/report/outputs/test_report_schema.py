"""The JSON Schema of `capacity.json`: strict, described, and published in docs."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from probe_ext.report.outputs.capacity_schema import capacity_schema, validate

PUBLISHED = Path(__file__).parents[3] / "docs" / "capacity.schema.json"
UPDATE = "python -m probe_ext.report.outputs.capacity_schema > docs/capacity.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == capacity_schema(), UPDATE


def objects(schema: Any) -> list[dict[str, Any]]:
    """Return all objects with stated properties, at any depth."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    nested = [found for part in parts for found in objects(part)]
    return [schema, *nested] if isinstance(schema, dict) and isinstance(schema.get("properties"), dict) else nested


def test_it_is_valid_and_allows_no_other_keys() -> None:
    schema = capacity_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert len(objects(schema)) > 15
    for item in objects(schema):
        assert item["additionalProperties"] is False
        assert set(item["required"]) == set(item["properties"])


def test_fields_are_described_by_their_docstrings() -> None:
    schema = capacity_schema()
    assert schema["properties"]["sentence"]["description"] == "the answer in plain words"
    assert schema["$defs"]["LevelResult"]["properties"]["served_share_low"]["description"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("served_users", -1), ("served_users", 1.5), ("verdict", "good"), ("breaks_first", "speed"), ("sentence", "")],
)
def test_wrong_values_are_rejected(whole_run: Path, key: str, value: object) -> None:
    capacity = json.loads((whole_run / "capacity.json").read_text(encoding="utf-8"))
    validate(capacity)
    with pytest.raises(jsonschema.ValidationError):
        validate({**capacity, key: value})
