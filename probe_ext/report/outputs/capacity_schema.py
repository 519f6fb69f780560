"""JSON Schema of `capacity.json`, derived from the dataclasses of the verdict.

`python -m probe_ext.report.outputs.capacity_schema > docs/capacity.schema.json` updates the published copy.
"""

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema

from probe_ext.verdict.values.json_types import Limits
from probe_ext.verdict.values.judgement import SCHEMA, Judgement

Schema = dict[str, Any]

_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def validate(capacity: Schema) -> None:
    """Check `capacity.json` before it is written. jsonschema.ValidationError is an internal error."""
    _validator().validate(capacity)


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(capacity_schema(described=False))


def capacity_schema(*, described: bool = True) -> Schema:
    """Return the schema, with the docstrings of classes and fields as descriptions unless `described` is false."""
    return schema_of(Judgement, "capacity.json", SCHEMA, described=described)


def schema_of(root_class: type, title: str, version: int, *, described: bool = True) -> Schema:
    """Return the JSON Schema of a file that is one dataclass and its schema number."""
    definitions: dict[str, Schema] = {}
    root = _object(root_class, definitions, described=described)
    root["properties"] = {"schema": {"const": version}, **root["properties"]}
    root["required"] = list(root["properties"])
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": title, **root, "$defs": definitions}


def _object(cls: type, definitions: dict[str, Schema], *, described: bool) -> Schema:
    hints = get_type_hints(cls, include_extras=True)
    docs = _field_docs(cls) if described else {}
    properties = {}
    for field in fields(cls):
        properties[field.name] = _type(hints[field.name], definitions, described=described)
        if field.name in docs:
            properties[field.name] |= {"description": docs[field.name]}
    made: Schema = {"description": inspect.cleandoc(cls.__doc__ or "")} if described else {}
    required = list(properties)
    return made | {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _type(hint: Any, definitions: dict[str, Schema], *, described: bool) -> Schema:
    def inner(part: Any) -> Schema:
        return _type(part, definitions, described=described)

    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = _object(hint, definitions, described=described)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin is None:
        return {"type": _TYPE_NAMES[hint]} if hint is not Any else {}
    if origin is Annotated:
        return _limited(inner(args[0]), args[1])
    if origin in (Union, UnionType):
        (given,) = (arg for arg in args if arg is not NoneType)
        return _or_null(inner(given))
    return {"enum": list(args)} if origin is Literal else _collection(hint, inner)


def _collection(hint: Any, inner: Callable[[Any], Schema]) -> Schema:
    args = get_args(hint)
    if get_origin(hint) is dict:
        names = {"propertyNames": inner(args[0])} if args[0] is not str else {}
        return {"type": "object", **names, "additionalProperties": inner(args[1])}
    if args[-1] is ...:
        return {"type": "array", "items": inner(args[0])}
    return {"type": "array", "prefixItems": [inner(arg) for arg in args], "items": False, "minItems": len(args)}


def _limited(schema: Schema, limits: Limits) -> Schema:
    if limits.one_of is not None:
        return {"enum": list(limits.one_of)}
    schema = _or_null(schema) if limits.nullable else schema | {"type": "number"} if limits.decimals else schema
    stated: Schema = {"minimum": limits.minimum, "maximum": limits.maximum, "minLength": limits.min_length}
    stated |= {"uniqueItems": limits.unique_items, "required": limits.required and list(limits.required)}
    return schema | {key: value for key, value in stated.items() if value is not None}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    if schema.get("type") in _TYPE_NAMES.values():
        return schema | {"type": [schema["type"], "null"]}
    return {"oneOf": [{"type": "null"}, schema]}


def _field_docs(cls: type) -> dict[str, str]:
    """Read the string below each field, of the class and of the dataclasses it inherits from."""
    docs: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if is_dataclass(base)]):
        (definition,) = (node for node in ast.parse(inspect.getsource(base)).body if isinstance(node, ast.ClassDef))
        for field, below in itertools.pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = inspect.cleandoc(text)
    return docs


if __name__ == "__main__":
    json.dump(capacity_schema(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
