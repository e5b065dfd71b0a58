"""The JSON schema of a report, derived from the model's types; run as a script it rewrites the shipped file.

Shipped: src/flash_doctor/schema/report-1.json. A test compares the two, so a new field of the model is a new
field of the schema. Every object may have more keys than are named here: fields are only ever added.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from packaging.version import Version

import flash_doctor
from flash_doctor.errors import EXIT_CODES
from flash_doctor.model import Report, Verdict

FILE = Path(flash_doctor.__file__).parent / "schema" / "report-1.json"
_TEXT = {"type": "string"}
_PLAIN: dict[Any, dict[str, Any]] = {
    str: _TEXT,
    Path: _TEXT,
    Version: {"type": "string", "minLength": 1},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
}


def report_schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    body = _object(Report, definitions)
    body["properties"] |= {
        "schema": {"const": "flash-doctor/report/1"},
        "verdict": {"enum": [verdict.value for verdict in Verdict]},
        "exit_code": {"enum": sorted(EXIT_CODES)},
    }
    body["required"] += ["schema", "verdict", "exit_code"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What flash-doctor check --json prints",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    only = len(fields(kind)) == 1  # the key of Absent is what tells it from any other object
    return {
        "type": "object",
        "properties": {field.name: _schema(hints[field.name], definitions) for field in fields(kind)},
        "required": [
            field.name
            for field in fields(kind)
            if only or (field.default is MISSING and field.default_factory is MISSING)
        ],
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(member, definitions) for member in get_args(kind)]}
    if origin is tuple:
        return {"type": "array", "items": _schema(get_args(kind)[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(get_args(kind)[1], definitions)}
    if is_dataclass(kind):
        name = getattr(kind, "__name__", str(kind))
        if name not in definitions:
            definitions[name] = {}
            definitions[name].update(_object(kind, definitions))
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return _PLAIN[getattr(kind, "__supertype__", kind)]


def main() -> None:
    FILE.write_text(json.dumps(report_schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
