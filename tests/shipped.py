"""The JSON schemas that ship, by the name of their document; `scripts/dev/schemas.py` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import flash_doctor

FOLDER = Path(flash_doctor.__file__).parent / "schema"


def schema(name: str) -> dict[str, Any]:
    """That of flash-doctor/NAME/1."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}-1.json").read_text(encoding="utf-8"))
    return found


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))
