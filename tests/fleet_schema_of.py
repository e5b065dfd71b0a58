"""The JSON schema of a comparison of nodes, derived from the model's types; run as a script it rewrites the file."""

from __future__ import annotations

import json
from typing import Any

import schema_of
from flash_doctor.errors import EXIT_CODES
from flash_doctor.model.fleet import Comparison, FleetVerdict

FILE = schema_of.FILE.with_name("fleet-1.json")


def fleet_schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    body = schema_of._object(Comparison, definitions)
    body["properties"] |= {
        "schema": {"const": "flash-doctor/fleet/1"},
        "verdict": {"enum": [verdict.value for verdict in FleetVerdict]},
        "exit_code": {"enum": sorted(EXIT_CODES)},
    }
    body["required"] += ["schema", "verdict", "exit_code"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What flash-doctor fleet compare --json and fleet check --json print",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(fleet_schema(), indent=1) + "\n", encoding="utf-8")
