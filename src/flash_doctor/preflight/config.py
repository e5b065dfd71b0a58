"""`Run`: what a configuration asks for, in axolotl's words whatever framework's file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.preflight.document import Duplicate
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterator


_LARGEST = 1e30  # several of them can be multiplied without an overflow


class Dialect(Enum):
    AXOLOTL = "axolotl"
    TRL = "TRL"
    HF = "Hugging Face TrainingArguments"
    LLAMAFACTORY = "LLaMA-Factory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training run as configured.

    `settings` uses axolotl's keys; `names` says how a key is called in the file where that differs; `raw` is the
    file itself and `lines` the line of each of its keys, by path (`datasets/0/type`).
    """

    dialect: Dialect
    path: Path
    settings: Mapping[str, Any]
    raw: Mapping[str, Any]
    lines: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    duplicates: tuple[Duplicate, ...] = ()

    @property
    def is_axolotl(self) -> bool:
        return self.dialect is Dialect.AXOLOTL

    def get(self, key: str) -> Any:
        """The value at a path, None where there is none."""
        return _at(self.settings, key)

    def on(self, key: str) -> bool:
        return truth(self.get(key)) is True

    def off(self, key: str) -> bool:
        """Said to be off; unset is not off."""
        return truth(self.get(key)) is False

    def number(self, key: str) -> float | None:
        return number(self.get(key))

    def count(self, key: str, default: int) -> int:
        value = self.number(key)
        return default if value is None else int(value)

    def text(self, key: str) -> str:
        value = self.get(key)
        return value if isinstance(value, str) else ""

    def words(self, key: str) -> tuple[str, ...]:
        """The texts of a list; a single text counts as a list of one."""
        value = self.get(key)
        items = value if isinstance(value, list) else [value]
        return tuple(item for item in items if isinstance(item, str))

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.get(key)
        return value if isinstance(value, Mapping) else {}

    def datasets(self, key: str = "datasets") -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each dataset with its path in the file (`datasets/0`)."""
        value = self.get(key)
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, Mapping):
                yield f"{key}/{index}", item

    def name(self, key: str) -> str:
        """The key as it is called in the file, where other frameworks have a flat one for what axolotl nests."""
        head, _, inner = key.partition("/")
        if key in self.names or head not in self.names:
            return self.names.get(key, key)
        last = inner.rpartition("/")[2]
        return last if last in self.raw else self.names[head]

    def line(self, key: str) -> int | None:
        """The line of a key, else of what it stands in."""
        place = self.name(key)
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place.rpartition("/")[0]
        return None

    def where(self, key: str) -> tuple[str, ...]:
        """One line of evidence: file, line number, and what stands there."""
        line = self.line(key)
        if line is None:
            return ()
        name = self.name(key)
        # what the file says, not what it means in axolotl's words
        value = self.get(key) if name == key else _at(self.raw, name)
        said = "is not set" if value is None and name not in self.lines else f"= {in_short(name, value)}"
        return (f"{self.path.name}:{line}: {name} {said}",)


def _at(value: Any, key: str) -> Any:
    """What stands at a path below a value, None where nothing does."""
    for part in key.split("/"):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def in_short(key: str, value: object) -> str:
    """A value in at most 80 characters; masked before it is cut, together with the key that may call it secret."""
    if isinstance(value, Mapping):
        return f"(a mapping of {len(value)})"
    if isinstance(value, list) and any(isinstance(each, (Mapping, list)) for each in value):
        return f"(a list of {len(value)})"
    return cut(f"{key} = {_written(value)}", len(key) + 83, mark="...").removeprefix(f"{key} = ")


def _written(value: object) -> str:
    """As YAML would have it."""
    if value is None:
        return "(no value)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def truth(value: object) -> bool | None:
    """True or False as pydantic reads it; None for what is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return bool(value)
    if isinstance(value, str) and value.lower() in {"true", "yes", "on", "1", "t", "y"}:
        return True
    if isinstance(value, str) and value.lower() in {"false", "no", "off", "0", "f", "n", ""}:
        return False
    return None


def number(value: object) -> float | None:
    """A number, also one that YAML left a text (`1e-4`); None for what nothing can be counted with."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < _LARGEST else None
