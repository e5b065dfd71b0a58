"""The JSON schemas of the treatments, derived from the model's types; run as a script it rewrites the shipped files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flash_doctor
from flash_doctor.errors import EXIT_CODES
from flash_doctor.model import Target
from flash_doctor.model.outcome import Outcome, Rollback
from flash_doctor.model.proof import Proof
from schema_of import _object

FOLDER = Path(flash_doctor.__file__).parent / "schema"
# file -> the value, what prints it, and what the command adds
KINDS: dict[str, tuple[type, str, dict[str, type]]] = {
    "outcome": (Outcome, "flash-doctor fix --json prints, and a receipt holds", {}),
    "rollback": (Rollback, "flash-doctor rollback --json prints", {}),
    "proof": (Proof, "flash-doctor verify --json prints", {"target": Target}),
}


def treatment_schema(name: str) -> dict[str, Any]:
    kind, printed, more = KINDS[name]
    definitions: dict[str, Any] = {}
    body = _object(kind, definitions)
    for key, value in more.items():
        definitions[value.__name__] = _object(value, definitions)
        body["properties"][key] = {"$ref": f"#/$defs/{value.__name__}"}
    if name == "proof":
        body["properties"]["entry"] = {"type": "string"}
    body["properties"] |= {
        "schema": {"const": f"flash-doctor/{name}/1"},
        "exit_code": {"enum": sorted(EXIT_CODES)},
    }
    body["required"] += ["schema", "exit_code"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What {printed}",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        "$defs": dict(sorted(definitions.items())),
    }


def main() -> None:
    for name in KINDS:
        text = json.dumps(treatment_schema(name), indent=1) + "\n"
        (FOLDER / f"{name}-1.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
