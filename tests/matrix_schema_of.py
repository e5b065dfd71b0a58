"""The JSON schemas of `stacks`, `matrix` and `lint-setup`, from types; run as a script it rewrites the shipped files.

These documents are not one value of the model each, so their keys stand here, each with the type of its value.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from flash_doctor.errors import EXIT_CODES
from flash_doctor.facts.stacks import CHECKS
from flash_doctor.model import Finding
from flash_doctor.model.wheel import Evidence, HashState, StackVerdict
from schema_of import FILE as REPORT_FILE, _schema

FOLDER = REPORT_FILE.parent
Check = Enum("Check", {name: name for name in CHECKS})  # type: ignore[misc]
Texts = tuple[str, ...]
STACK: dict[str, Any] = {
    "name": str, "project": str, "python": str, "cuda": str, "kind": str, "date": str | None, "requirements": Texts,
    "check": Check, "checked": str | None, "wrong": Texts, "source": str,
}  # fmt: skip
CELL = {
    "machine": str,
    "torch": str,
    "cuda": str,
    "python": str,
    "newest": dict[str, str],
    "here": bool,
}
WHEEL = {
    "filename": str, "publisher": str, "release": str, "url": str | None, "sha256": str | None, "size": int | None,
    "hash_state": HashState, "evidence": Evidence, "source": str, "date": str, "faults": Texts,
}  # fmt: skip
KNOWLEDGE = {"shipped": str, "refreshed": str | None, "warnings": Texts}
RENEWAL = {"publisher": str, "added": Texts, "replaced": Texts, "unread": Texts, "fault": str | None}
# name of the schema -> what prints it, and the type of each key; a list holds the keys of every member of an array
DOCUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "stacks": ("flash-doctor stacks --json prints", {"stacks": [STACK]}),
    "stack": ("flash-doctor stacks show NAME --json and stacks --check NAME --json print",
              {**STACK, "today": StackVerdict | None}),
    "coverage": ("flash-doctor matrix coverage --json prints", {"cells": [CELL], "here": str}),
    "wheels": ("flash-doctor matrix show --json prints", {"facts": KNOWLEDGE, "wheels": [WHEEL]}),
    "refresh": ("flash-doctor matrix refresh --json prints", {"publishers": [RENEWAL], "folder": str}),
    "lint": ("flash-doctor matrix lint --json prints", {"faults": Texts}),
    "lint-setup": ("flash-doctor lint-setup DIR --json prints", {"findings": tuple[Finding, ...]}),
}  # fmt: skip


def document_schema(name: str) -> dict[str, Any]:
    printed, keys = DOCUMENTS[name]
    definitions: dict[str, Any] = {}
    body = _keyed(keys, definitions)
    body["properties"] |= {
        "schema": {"const": f"flash-doctor/{name}/1"},
        "exit_code": {"enum": sorted(EXIT_CODES)},
    }
    body["required"] += ["schema", "exit_code"]
    more = {"$defs": dict(sorted(definitions.items()))} if definitions else {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What {printed}",
        "description": "Fields are only ever added: readers pass over keys they do not know.",
        **body,
        **more,
    }


def _keyed(keys: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {key: _typed(kind, definitions) for key, kind in keys.items()}
    return {"type": "object", "properties": properties, "required": list(keys)}


def _typed(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, dict):
        return _keyed(kind, definitions)
    if isinstance(kind, list):
        return {"type": "array", "items": _keyed(kind[0], definitions)}
    return _schema(kind, definitions)


def main() -> None:
    for name in DOCUMENTS:
        text = json.dumps(document_schema(name), indent=1) + "\n"
        (FOLDER / f"{name}-1.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
