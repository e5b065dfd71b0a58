"""Reading one file of the wheel matrix: every row is validated, every fault noted, and raised once at the end."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadFacts
from flash_doctor.model import Capability

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
CAPABILITY = re.compile(r"(\d+)\.(\d+)")
REQUIRED: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a row comes from: what was read, on which day, and its address if it has one."""

    what: str
    read: datetime.date
    url: str = ""

    def __str__(self) -> str:
        return f"{self.what} (read {self.read})"


@dataclass
class Table:
    """One file: its sections, its sources, and the faults found so far."""

    path: Path
    data: Mapping[str, Any]
    faults: list[str] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    cited: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Table:
        """The file's sections.

        Raises:
            BadFacts: it is missing, unreadable, not UTF-8, or not TOML.
        """
        try:
            table = cls(path, tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"{path.name} of the wheel matrix cannot be read: {error}"
            raise BadFacts(message, advice="Install flash-doctor again; its own files are damaged.") from error
        for row in table.rows("sources", sourced=False):
            table.sources[row.name] = Source(
                what=row.text("what"), read=row.date("read"), url=row.text("url", default="")
            )
        return table

    def fault(self, row: str, key: str, why: str) -> None:
        self.faults.append(f"{self.path.name}: {row}: {key}: {why}")

    def finish(self) -> None:
        """Raises BadFacts with every fault of the file, if there is one."""
        for name in self.sources.keys() - self.cited:
            self.fault(f"sources.{name}", "name", "no row cites it")
        if self.faults:
            message = f"{self.path.name} of the wheel matrix breaks {len(self.faults)} rule(s): {self.faults[0]}"
            raise BadFacts(message, evidence=self.faults, advice="Correct the rows named here.")

    def rows(self, section: str, *, sourced: bool = True) -> Iterator[Row]:
        """The rows of `[section]`, or of `[[section]]` numbered from 1; a section may be absent."""
        return self.rows_of(section, self.data.get(section, {}), sourced=sourced)

    def rows_of(self, section: str, found: object, *, sourced: bool = True) -> Iterator[Row]:
        named = found.items() if isinstance(found, dict) else enumerate(found, 1) if isinstance(found, list) else None
        if named is None:
            self.fault(section, "", "must be a table")
            return
        for name, fields in named:
            if not isinstance(fields, dict):
                self.fault(f"{section}.{name}", "", "must be a table")
                continue
            row = Row(self, section, str(name), fields)
            yield row
            row.close(sourced=sourced)


@dataclass
class Row:
    """One row: typed access to its keys. A faulty value is noted and stands in for itself until `finish`."""

    table: Table
    section: str
    name: str
    fields: Mapping[str, Any]
    used: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        return f"{self.section}.{self.name}"

    def fault(self, key: str, why: str) -> None:
        self.table.fault(self.label, key, why)

    def close(self, *, sourced: bool) -> None:
        """Every row names a known source and holds nothing that was not read."""
        source = self.fields.get("source")
        if sourced and source not in self.table.sources:
            self.fault("source", f"{source!r} is none of the file's sources")
        self.table.cited.add(str(source))
        for key in self.fields.keys() - self.used - {"source"}:
            self.fault(key, "is not a key of this table")

    @property
    def source(self) -> Source:
        return self.table.sources.get(self.fields.get("source", ""), Source(what="", read=datetime.date.min))

    def _get(self, key: str, kind: type[T], default: object, stand_in: T) -> T:
        self.used.add(key)
        value = self.fields.get(key, default)
        if value is REQUIRED:
            self.fault(key, "is missing")
            return stand_in
        if type(value) is not kind and value is not default:
            self.fault(key, f"must be {kind.__name__}, not {value!r}")
            return stand_in
        return cast("T", value)

    def text(self, key: str, default: str = REQUIRED) -> str:
        value = self._get(key, str, default, "")
        if default is REQUIRED and key in self.fields and not value:
            self.fault(key, "is empty")
        return value

    def flag(self, key: str, default: bool = REQUIRED) -> bool:
        return self._get(key, bool, default, False)

    def number(self, key: str) -> int:
        return self._get(key, int, REQUIRED, 0)

    def real(self, key: str) -> float:
        return self._get(key, float, REQUIRED, 1.0)

    def share(self, key: str) -> float:
        value = self._get(key, float, REQUIRED, 0.5)
        if not 0 < value < 1:
            self.fault(key, f"must lie between 0 and 1, not {value!r}")
        return value

    def seconds(self, key: str) -> float:
        value = self._get(key, float, REQUIRED, 1.0)
        if not value > 0:
            self.fault(key, f"must be more than 0, not {value!r}")
        return value

    def date(self, key: str) -> datetime.date:
        return self._get(key, datetime.date, REQUIRED, datetime.date.min)

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._get(key, list, REQUIRED, [])
        if not all(isinstance(word, str) and word for word in value):
            self.fault(key, "must hold texts only")
            return ()
        return tuple(value)

    def version(self, key: str) -> Version:
        return self.parse(key, self.text(key), version, Version("0"))

    def versions(self, key: str, default: str = "") -> tuple[Version, ...]:
        """Versions separated by blanks."""
        return tuple(self.parse(key, word, version, Version("0")) for word in self.text(key, default).split())

    def optional_version(self, key: str) -> Version | None:
        return self.version(key) if key in self.fields else None

    @property
    def name_version(self) -> Version:
        return self.parse("", self.name, version, Version("0"))

    @property
    def name_capability(self) -> Capability:
        return self.parse("", self.name, capability, Capability(major=0, minor=0))

    def capabilities(self, key: str) -> tuple[Capability, ...]:
        """Compute capabilities separated by blanks."""
        words = self.text(key, "").split()
        return tuple(self.parse(key, word, capability, Capability(major=0, minor=0)) for word in words)

    def parse(self, key: str, text: str, parser: Callable[[str], T | None], stand_in: T) -> T:
        value = parser(text)
        if value is None:
            self.fault(key or "name", f"{text!r} is no {parser.__name__}")
            return stand_in
        return value


def version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def capability(text: str) -> Capability | None:
    match = CAPABILITY.fullmatch(text)
    return Capability(major=int(match[1]), minor=int(match[2])) if match else None
