"""The JSON schema of `doctor abi`, derived from the model's types; run as a script it rewrites the shipped file."""

from __future__ import annotations

import json
from typing import Any

from flash_doctor.errors import EXIT_CODES
from flash_doctor.model.binaries import Inspection
from schema_of import FILE as REPORT_FILE, _object

FILE = REPORT_FILE.with_name("abi-1.json")


def abi_schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    body = _object(Inspection, definitions)
    body["properties"] |= {"schema": {"const": "flash-doctor/abi/1"}, "exit_code": {"enum": sorted(EXIT_CODES)}}
    body["required"] += ["schema", "exit_code"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What flash-doctor abi --json prints",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(abi_schema(), indent=1) + "\n", encoding="utf-8")
