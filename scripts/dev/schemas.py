"""Writes the JSON schema of every document, from the types in it: .venv/bin/python scripts/dev/schemas.py [--check]

--check writes nothing, names the schemas that are not as the types say and ends with 1 where there are any. What a
class is for is told by its docstring. Every object may have more keys than are named: fields are only ever added.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from packaging.version import Version

import flash_doctor
from flash_doctor.errors import BROKEN, EXIT_CODES, HEALTHY, NO_PLAN
from flash_doctor.facts.stacks import CHECKS
from flash_doctor.model import Finding, Report, Target, Verdict
from flash_doctor.model.binaries import Inspection
from flash_doctor.model.explanation import Explanation, LogLine
from flash_doctor.model.fleet import Comparison, FleetVerdict
from flash_doctor.model.outcome import Outcome, Rollback
from flash_doctor.model.plan import Axis, Move, Risk
from flash_doctor.model.proof import Proof
from flash_doctor.model.watch import WatchEvent
from flash_doctor.model.wheel import Evidence, HashState, StackVerdict

FOLDER = Path(flash_doctor.__file__).parent / "schema"
ADDED = "Fields are only ever added: readers pass over keys they do not know."

Schema = dict[str, Any]
Keys = Mapping[str, Any]
"""A key and the type of its value: a class, Keys, an Entry, or a list of what each member of an array may be."""
NONE: Keys = types.MappingProxyType({})


class Entry(NamedTuple):
    """An object that several places share, by its name; some of its keys may be missing."""

    name: str
    keys: Keys
    optional: frozenset[str] = frozenset()


class Document(NamedTuple):
    """Who prints it, its body (a class or Keys) and what is beside that; `exits` None: it ends no process."""

    printed: str
    body: Any
    more: Keys = NONE
    optional: frozenset[str] = frozenset()
    exits: Any = tuple(sorted(EXIT_CODES))
    about: str = ADDED
    rule: Keys = NONE


Text = Annotated[str, {"minLength": 1}]
Count = Annotated[int, {"minimum": 1}]
Texts = tuple[str, ...]
Sha256 = Annotated[str | None, {"pattern": "^[0-9a-f]{64}$"}]
Said = tuple[Text, ...]

# --- the plan: a reading of the model's Plan for others, with files and publishers spelt out
_FILE: Keys = {"url": str | None, "sha256": Sha256, "size": int | None, "hash_state": HashState}
_STEP: Keys = {
    "name": Annotated[str, {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}],
    "because": Text,
    "version": str | None,
}
REMOVE = Entry("remove", {"action": Literal["remove"], **_STEP}, frozenset({"version"}))
INSTALL = Entry(
    "install",
    {
        "action": Literal["install"], **_STEP, **_FILE,
        "requirement": Text, "indexes": Said, "filename": str | None, "publisher": str | None, "evidence": str | None,
    },
    frozenset({"filename", "publisher", "evidence"}),
)  # fmt: skip
BUILD = Entry(
    "build",
    {
        "action": Literal["build"], **_STEP, **_FILE, "requirement": Text, "settings": dict[str, str],
        "jobs": Count, "minutes": Count, "memory": Count, "needs": [INSTALL],
    },
    frozenset({"version", "needs", *_FILE}),
)  # fmt: skip
REJECTION = Entry(
    "rejection",
    {
        "wheel": Annotated[str, {"pattern": "\\.whl$"}], "publisher": str, "axis": Axis, "why": Text,
        "axes": Annotated[Texts, {"minItems": 1}],
    },
    frozenset({"publisher"}),
)  # fmt: skip
STEPS = [INSTALL, BUILD, REMOVE]
ALTERNATIVE = Entry(
    "alternative",
    {
        "move": Move, "change": Said, "steps": STEPS, "risk": Risk, "cost": str, "possible": bool,
        "command": str | None,
    },
    frozenset({"command"}),
)  # fmt: skip
KNOWLEDGE: Keys = {"shipped": str, "refreshed": str | None, "warnings": Texts}
PLAN: Keys = {
    "goal": {"wanted": Said, "keep": Said, "allow": Said},
    "steps": STEPS, "manual": Said, "because": Said, "candidates": Said,
    "refused": dict[str, Annotated[int, {"minimum": 0}]], "rejected": [REJECTION], "alternatives": [ALTERNATIVE],
    "command": str | None, "machine": str, "why": Said, "notes": Said, "facts": KNOWLEDGE,
}  # fmt: skip

# --- stacks and the matrix
Check = Enum("Check", {name: name for name in CHECKS})  # type: ignore[misc]
STACK: Keys = {
    "name": str, "project": str, "python": str, "cuda": str, "kind": str, "date": str | None, "requirements": Texts,
    "check": Check, "checked": str | None, "wrong": Texts, "source": str,
}  # fmt: skip
CELL: Keys = {"machine": str, "torch": str, "cuda": str, "python": str, "newest": dict[str, str], "here": bool}
WHEEL: Keys = {
    "filename": str, "publisher": str, "release": str, "url": str | None, "sha256": str | None, "size": int | None,
    "hash_state": HashState, "evidence": Evidence, "source": str, "date": str, "faults": Texts,
}  # fmt: skip
RENEWAL: Keys = {"publisher": str, "added": Texts, "replaced": Texts, "unread": Texts, "fault": str | None}

EXPLANATION: Keys = {
    "explanations": Annotated[
        tuple[Explanation, ...],
        {
            "description": "The first cause first; what a cause explains stands in its consequences. "
            "Empty where nothing is known."
        },
    ],
    "unexplained": Annotated[
        tuple[LogLine, ...],
        {"description": "Lines that say that something failed, where no cause is known: look at the last one first."},
    ],
    "lines_read": Annotated[int, {"minimum": 0}],
    "bytes_read": Annotated[int, {"minimum": 0}],
    "exit_code": Annotated[int, {"minimum": 0, "maximum": 255}],
}  # fmt: skip
TIME = Annotated[str, {"description": "the moment `at`, as ISO 8601 in UTC"}]

DOCUMENTS: dict[str, Document] = {
    "report": Document("What flash-doctor check --json prints", Report, {"verdict": Verdict}),
    "abi": Document("What flash-doctor abi --json prints", Inspection),
    "fleet": Document(
        "What flash-doctor fleet compare --json and fleet check --json print", Comparison, {"verdict": FleetVerdict}
    ),
    "fleet-lost": Document(
        "What fleet check keeps of a node that gave no report", {"fleet": {"node": str}, "why": str}, exits=None
    ),
    "watch": Document(
        "One line of what flash-doctor watch --json prints", WatchEvent, {"time": TIME},
        exits=(None, *sorted(EXIT_CODES)),
    ),
    "plan": Document(
        "What flash-doctor plan --json prints", PLAN, optional=frozenset({"machine", "why", "notes", "facts"}),
        exits=(HEALTHY, NO_PLAN), about=f"{ADDED} Without a plan steps is empty and exit_code is {NO_PLAN}.",
        rule={
            "if": {"properties": {"exit_code": {"const": NO_PLAN}}},
            "then": {"properties": {"steps": {"maxItems": 0}}},
        },
    ),
    "outcome": Document("What flash-doctor fix --json prints, and a receipt holds", Outcome),
    "rollback": Document("What flash-doctor rollback --json prints", Rollback),
    "proof": Document("What flash-doctor verify --json prints", Proof, {"target": Target, "entry": str},
                      optional=frozenset({"target", "entry"})),
    "explanation": Document(
        "What flash-doctor explain --json prints", EXPLANATION, exits=None,
        optional=frozenset({"unexplained", "lines_read", "bytes_read", "exit_code"}),
    ),
    "error": Document(
        "What stands on stdout with --json when a command failed", {"error": Text, "evidence": Texts, "advice": str},
        exits=tuple(sorted(EXIT_CODES.keys() - {HEALTHY, BROKEN})),
    ),
    "stacks": Document("What flash-doctor stacks --json prints", {"stacks": [STACK]}),
    "stack": Document(
        "What flash-doctor stacks show NAME --json and stacks --check NAME --json print",
        {**STACK, "today": StackVerdict | None},
    ),
    "coverage": Document("What flash-doctor matrix coverage --json prints", {"cells": [CELL], "here": str}),
    "wheels": Document("What flash-doctor matrix show --json prints", {"facts": KNOWLEDGE, "wheels": [WHEEL]}),
    "refresh": Document("What flash-doctor matrix refresh --json prints", {"publishers": [RENEWAL], "folder": str}),
    "lint": Document("What flash-doctor matrix lint --json prints", {"faults": Texts}),
    "lint-setup": Document("What flash-doctor lint-setup DIR --json prints", {"findings": tuple[Finding, ...]}),
}  # fmt: skip


def schema_of(name: str) -> Schema:
    """The schema of that document."""
    document = DOCUMENTS[name]
    rendering = Rendering()
    keyed = rendering.keyed(document.body) if isinstance(document.body, dict) else rendering.fields_of(document.body)
    beside = rendering.keyed(document.more)
    ours: Schema = {"schema": {"const": f"flash-doctor/{name}/1"}}
    if document.exits:
        ours["exit_code"] = {"enum": list(document.exits)}
    required = [*keyed["required"], *beside["required"], *ours]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": document.printed,
        "description": document.about,
        "type": "object",
        "properties": {**keyed["properties"], **beside["properties"], **ours},
        "required": [key for key in required if key not in document.optional],
        **document.rule,
        **({"$defs": dict(sorted(rendering.definitions.items()))} if rendering.definitions else {}),
    }


class Rendering:
    """One schema while it is made; a class or Entry that it meets becomes a definition."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def keyed(self, keys: Keys, optional: frozenset[str] = frozenset()) -> Schema:
        properties = {key: self.value(kind) for key, kind in keys.items()}
        return {"type": "object", "properties": properties, "required": [key for key in keys if key not in optional]}

    def fields_of(self, kind: Any) -> Schema:
        """The object that a dataclass is encoded as; what has a default may be missing."""
        hints = get_type_hints(kind, include_extras=True)
        only = len(fields(kind)) == 1  # the key of Absent is what tells it from any other object
        defaults = {each.name for each in fields(kind) if (each.default, each.default_factory) != (MISSING, MISSING)}
        keys = {each.name: hints[each.name] for each in fields(kind)}
        return self.keyed(keys, frozenset() if only else frozenset(defaults))

    def value(self, kind: Any) -> Schema:
        if isinstance(kind, Entry):
            return self._defined(kind.name, lambda: self.keyed(kind.keys, kind.optional))
        if isinstance(kind, Mapping):
            return self.keyed(kind)
        if isinstance(kind, list):
            return {"type": "array", "items": self._one_of([self.value(each) for each in kind])}
        if is_dataclass(kind):
            return self._defined(getattr(kind, "__name__", ""), lambda: {**_about(kind), **self.fields_of(kind)})
        return self._typed(kind, get_origin(kind), get_args(kind))

    def _typed(self, kind: Any, origin: Any, inside: tuple[Any, ...]) -> Schema:
        if origin is Annotated:
            return {**self.value(inside[0]), **inside[1]}
        if origin in (Union, types.UnionType):
            return self._one_of([self.value(member) for member in inside])
        if origin is Literal:
            return {"const": inside[0]} if len(inside) == 1 else {"enum": list(inside)}
        if origin is tuple:
            return {"type": "array", "items": self.value(inside[0])}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.value(inside[1])}
        return _plain(kind)

    def _one_of(self, members: list[Schema]) -> Schema:
        return members[0] if len(members) == 1 else {"anyOf": members}

    def _defined(self, name: str, make: Any) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # one that contains itself finds it here
            self.definitions[name].update(make())
        return {"$ref": f"#/$defs/{name}"}


def _plain(kind: Any) -> Schema:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return dict(_PLAIN[getattr(kind, "__supertype__", kind)])


_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    Version: {"type": "string", "minLength": 1},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
}


def _about(kind: Any) -> Schema:
    """What the class is for, unless its docstring is the signature that dataclass wrote."""
    told = " ".join((kind.__doc__ or "").split())
    return {"description": told} if told and not told.startswith(f"{kind.__name__}(") else {}


def written(name: str) -> str:
    """The text of a schema's file."""
    return json.dumps(schema_of(name), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    ours = {f"{name}-1.json": written(name) for name in DOCUMENTS}
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    changed = sorted(name for name in ours | there if ours.get(name) != there.get(name))
    print("\n".join(changed) or "Every schema is as the types say.")
    if not check:
        for name in changed:
            _write(FOLDER / name, ours.get(name))
    return 1 if check and changed else 0


def _write(path: Path, text: str | None) -> None:
    """The text; None where the document is gone."""
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
