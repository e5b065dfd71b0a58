"""The JSON schema of a line of `doctor watch --json`, from the model's types; run as a script it rewrites the file."""

from __future__ import annotations

import json
from typing import Any

from flash_doctor.errors import EXIT_CODES
from flash_doctor.model.watch import WatchEvent
from schema_of import FILE as REPORT_FILE, _object

FILE = REPORT_FILE.with_name("watch-1.json")


def watch_schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    body = _object(WatchEvent, definitions)
    body["properties"] |= {
        "schema": {"const": "flash-doctor/watch/1"},
        "time": {"type": "string", "description": "the moment `at`, as ISO 8601 in UTC"},
        "exit_code": {"enum": [None, *sorted(EXIT_CODES)], "description": "null but in the last line"},
    }
    body["required"] += ["schema", "time", "exit_code"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of what flash-doctor watch --json prints",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(watch_schema(), indent=1) + "\n", encoding="utf-8")
