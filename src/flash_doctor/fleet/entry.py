"""Typed access to a parsed JSON document from anybody: every fault is told with its path, texts are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Unknown

if TYPE_CHECKING:
    from flash_doctor.model import Part

T = TypeVar("T")
MAX_TEXT = 200  # characters: longer than any version, name of a GPU or value worth comparing
MAX_ITEMS = 50_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One JSON object and where it stands. Every method raises BadInput when the value is of another type."""

    data: dict[str, Any]
    path: str = "$"

    def _get(self, key: str, kind: type[T]) -> T:
        value = self.data.get(key)
        # not isinstance: to Python a bool is an int
        if type(value) is kind:
            return value
        raise self.fault(key, kind.__name__, value)

    def fault(self, key: str, wanted: str, value: object) -> BadInput:
        found = type(value).__name__ if key in self.data else "nothing"
        return BadInput(f"{self.path}.{key}: expected {wanted}, found {found}")

    def text(self, key: str) -> str:
        value = self._get(key, str)
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"

    def flag(self, key: str) -> bool:
        return self._get(key, bool)

    def number(self, key: str) -> int:
        return self._get(key, int)

    def seconds(self, key: str) -> float:
        value = self.data.get(key)
        return float(value) if type(value) is int and abs(value) < 1 << 53 else self._get(key, float)

    def entry(self, key: str) -> Entry:
        return Entry(self._get(key, dict), f"{self.path}.{key}")

    def objects(self, key: str) -> list[dict[str, Any]]:
        """The objects of a list as they are: for a quick look at many."""
        items = self._get(key, list)
        wrong = next((index for index, item in enumerate(items) if type(item) is not dict), None)
        if wrong is not None or len(items) > MAX_ITEMS:
            raise self.fault(key, f"a list of at most {MAX_ITEMS} objects", items)
        return items

    def item(self, key: str, index: int) -> Entry:
        return Entry(self.data[key][index], f"{self.path}.{key}[{index}]")

    def entries(self, key: str) -> list[Entry]:
        return [self.item(key, index) for index in range(len(self.objects(key)))]

    def part(self, key: str) -> Part[Entry]:
        """An object that may be absent or unknown; so is one that this report's version did not know."""
        if key not in self.data:
            return Unknown(unknown="the report does not tell it: another version of flash-doctor wrote it")
        found = self.entry(key)
        return found._marker() or found

    def text_part(self, key: str) -> Part[str]:
        if isinstance(self.data.get(key), str):
            return self.text(key)
        marker = self.entry(key)._marker()
        if marker is None:
            raise self.fault(key, "text, absent or unknown", self.data[key])
        return marker

    def flag_part(self, key: str) -> Part[bool]:
        if isinstance(self.data.get(key), bool):
            return self.flag(key)
        marker = self.entry(key)._marker()
        if marker is None:
            raise self.fault(key, "true, false, absent or unknown", self.data[key])
        return marker

    def _marker(self) -> Absent | Unknown | None:
        if len(self.data) != 1:
            return None
        if "absent" in self.data:
            return Absent(absent=self.text("absent"))
        return Unknown(unknown=self.text("unknown")) if "unknown" in self.data else None
