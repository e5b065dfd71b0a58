"""The schema of an installed axolotl, read from its source with ast: never imported, so neither is torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flash_doctor.facts.frameworks import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from packaging.version import Version

_ROOT = "AxolotlInputConfig"
_REMOVED = "DeprecatedParameters"


def read_schema(package: Path, release: Version) -> Schema | None:
    """The keys of the axolotl in folder `package`; None where its source is not laid out as we know it."""
    classes = _Classes()
    for file in sorted(package.glob("utils/schemas/**/*.py")):
        classes.read(file)
    if _ROOT not in classes.fields:
        return None
    removed = classes.fields.get(_REMOVED, {})
    top = {key: written for key, written in classes.inherited(_ROOT) if key not in removed}
    return Schema(
        release=release,
        top=top,
        removed=removed,
        nested={name: dict(classes.inherited(name)) for name in classes.fields if name != _ROOT},
        plugins=dict(_plugins(package)),
        enums=classes.enums,
    )


def _plugins(package: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for file in sorted(package.glob("integrations/*/args.py")):
        classes = _Classes()
        classes.read(file)
        yield file.parent.name, {key: written for fields in classes.fields.values() for key, written in fields.items()}


@dataclass
class _Classes:
    """The classes of some files: their own fields, their bases, and enumerations with their members."""

    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, file: Path) -> None:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            return
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.Assign):
                self._constant(node)

    def _class(self, node: ast.ClassDef) -> None:
        members = tuple(_members(node.body))
        self.bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
        if members and "Enum" in "".join(ast.unparse(base) for base in node.bases):
            self.enums[node.name] = members
            return
        self.fields[node.name] = dict(_fields(node.body))

    def _constant(self, node: ast.Assign) -> None:
        """A set or list of words in capitals, as CANONICAL_ATTN_IMPLS."""
        name = node.targets[0]
        words = [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
        if isinstance(name, ast.Name) and name.id.isupper() and words and all(isinstance(word, str) for word in words):
            self.enums[name.id] = tuple(str(word) for word in words)

    def inherited(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
        """The fields of a class and of those it is made of."""
        for base in self.bases.get(name, []):
            if base not in seen:
                yield from self.inherited(base, seen | {name})
        yield from self.fields.get(name, {}).items()


def _fields(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Annotated names and their types; an alias that a key is written with counts as the key."""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.target.id == "model_config":
                continue
            written = ast.unparse(node.annotation)
            yield node.target.id, written
            for keyword in node.value.keywords if isinstance(node.value, ast.Call) else []:
                if keyword.arg in {"alias", "validation_alias"} and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value), written


def _members(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
