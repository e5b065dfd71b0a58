"""Every document has a schema, and every schema that ships is the one that the types give."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from shipped import FOLDER, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts" / "dev"))
    yield import_module("schemas")
    sys.path.remove(str(ROOT / "scripts" / "dev"))


def test_the_shipped_schemas_are_those_of_the_types(writer: ModuleType) -> None:
    shipped = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    derived = {f"{name}-1.json": writer.written(name) for name in writer.DOCUMENTS}
    changed = sorted(name for name in shipped.keys() | derived.keys() if shipped.get(name) != derived.get(name))
    assert not changed, "scripts/dev/schemas.py writes them anew"


@pytest.mark.parametrize("name", sorted(path.stem.removesuffix("-1") for path in FOLDER.iterdir()))
def test_a_schema_is_one_and_names_its_document(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["properties"]["schema"] == {"const": f"flash-doctor/{name}/1"}
    assert "schema" in schema(name)["required"]


def test_every_document_that_the_source_names_has_a_schema() -> None:
    named = {
        name
        for path in FOLDER.parent.rglob("*.py")
        for name in re.findall(r'"flash-doctor/([\w-]+)/1"', path.read_text(encoding="utf-8"))
    }
    assert named == {path.stem.removesuffix("-1") for path in FOLDER.iterdir()}


def test_what_a_class_is_for_stands_in_the_schema() -> None:
    told = schema("explanation")["$defs"]["LogLine"]["description"]
    assert told.startswith("One line of the log by its number (from 1)")
