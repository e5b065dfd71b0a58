"""Reading one file of the wheel matrix into its dataclass: every fault is noted, and all are raised at the end.

A file is a dataclass whose fields are `Annotated[TYPE, TableSection("NAME")]`, a row a dataclass whose fields are keys
(`kinds` says what they may hold). A field with a default may be left out; one of the type `X | None` too. What no
annotation can say is a method `faults` of either: of a row it yields (key, why), of a file (row, key, why).
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args, get_origin

from flash_doctor.errors import BadFacts
from flash_doctor.facts.kinds import GIVEN, INLINE, NAME, Key, Kind, Words, Wrong, kind_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
_REQUIRED: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a row comes from: what was read, on which day, and its address if it has one."""

    what: str
    read: datetime.date
    url: str = ""

    def __str__(self) -> str:
        return f"{self.what} (read {self.read})"


_NO_SOURCE = Source(what="", read=datetime.date.min)


class TableSection(NamedTuple):
    """Which rows a field holds: as a mapping by their names, a tuple, a set of all that they hold, or the only one.

    `name`: the table, or `table.row` for one row of it; `column`: only the value of this key counts, not the row;
    `by`: the key whose words name the row, instead of its own name; `notes`: keys for who reads the file, not kept;
    `sourced`: each row names its source.
    """

    name: str
    column: str = ""
    by: str = ""
    notes: tuple[str, ...] = ()
    sourced: bool = True


def load(kind: type[T], path: Path) -> T:
    """The file as that dataclass; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    value = table.whole(kind)
    table.finish()
    return value


@dataclass(eq=False)
class Table:
    """One file: its sections, what is given to each of its rows, its sources, and the faults found so far."""

    path: Path
    data: dict[str, Any]
    given: dict[str, Any]
    faults: list[str] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    cited: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path, **given: object) -> Table:
        """The file's sections.

        Raises:
            BadFacts: it is missing, unreadable, not UTF-8, or not TOML.
        """
        try:
            table = cls(path, tomllib.loads(path.read_text(encoding="utf-8")), given)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"{path.name} of the wheel matrix cannot be read: {error}"
            raise BadFacts(message, advice="Install flash-doctor again; its own files are damaged.") from error
        table.sources = {
            row.name: source for row, source in table._values(Source, TableSection("sources", sourced=False))
        }
        return table

    def fault(self, row: str, key: str, why: str) -> None:
        self.faults.append(f"{self.path.name}: {row}: {key}: {why}")

    def finish(self) -> None:
        """Raises BadFacts with every fault of the file, if there is one."""
        for name in sorted(self.sources.keys() - self.cited):
            self.fault(f"sources.{name}", "name", "no row cites it")
        if self.faults:
            message = f"{self.path.name} of the wheel matrix breaks {len(self.faults)} rule(s): {self.faults[0]}"
            raise BadFacts(message, evidence=self.faults, advice="Correct the rows named here.")

    def whole(self, kind: type[T]) -> T:
        """The file as a dataclass of sections; what that lists as its own faults is noted."""
        hints = _hints(kind)
        for name, hint in hints.items():
            self.given[name] = self._section(hint, _mark(hint, TableSection))
        value = kind(**{name: self.given[name] for name in hints})
        self._nothing_else([_mark(hint, TableSection).name.partition(".") for hint in hints.values()])
        for fault in getattr(value, "faults", tuple)():
            self.fault(*fault)
        return value

    def listed(self, kind: type[T], section: TableSection) -> tuple[T, ...]:
        """The rows of one section, for a file that is no dataclass."""
        return tuple(value for _, value in self._values(kind, section))

    def _nothing_else(self, known: list[tuple[str, str, str]]) -> None:
        """No section but those known, and in those of which each row is known, no other row."""
        for name in sorted(self.data.keys() - {"sources", *(section for section, _, _ in known)}):
            self.fault(name, "name", "is no section of this file")
        for section in dict.fromkeys(section for section, dot, _ in known if dot):
            names = [name for other, _, name in known if other == section]
            found = self._found(section)
            for name in sorted({*(found if isinstance(found, dict) else ())} ^ {*names}):
                self.fault(f"{section}.{name}", "name", f"the {section} are {', '.join(names)}")

    def _section(self, hint: Any, section: TableSection) -> Any:
        plain = hint.__origin__
        origin, inside = get_origin(plain), get_args(plain)
        if origin is Mapping:
            return self._by_name(inside, section)
        if origin is tuple:
            return self.listed(inside[0], section)
        if origin is frozenset:
            values = {value for _, found in self._values(hint, section) for value in found}
            if not values:
                self.fault(section.name, section.column, "is missing")
            return frozenset(values)
        return self._only(plain if is_dataclass(plain) else hint, section)

    def _by_name(self, inside: tuple[Any, ...], section: TableSection) -> dict[Any, Any]:
        key, hint = inside
        names = kind_of(key, text=True)
        if get_origin(hint) is Mapping:  # two levels, as in [build."2.8"]
            return {
                part.value("name", names, part.name): self._by_name(get_args(hint), section._replace(name=part.label))
                for part in self._rows(section.name)
            }
        rows = list(self._values(hint, section))
        if own := next((column.field for column in _columns(hint) if column.named), ""):
            return {getattr(value, own): value for _, value in rows}
        return {row.value(section.by, names, name): value for row, value in rows for name in row.names(section.by)}

    def _only(self, hint: Any, section: TableSection) -> Any:
        name, dot, row = section.name.partition(".")
        values = [value for _, value in self._values(hint, section._replace(name=name), only=row)]
        if len(values) == 1:
            return values[0]
        if not dot:
            self.fault(section.name, "name", "must be one row")
        return kind_of(hint).stand_in if section.column else None

    def _values(self, hint: Any, section: TableSection, only: str = "") -> Iterator[tuple[Row, Any]]:
        """Each row (or the one of that name) with its value, or with that of its column."""
        if section.column:
            take, keys = _column(section.column, kind_of(hint), _REQUIRED), {section.column}
        else:
            take, keys = partial(_made, hint), {key for column in _columns(hint) for key in column.keys}
        notes = [_column(note, kind_of(str), _REQUIRED) for note in section.notes]
        keys |= {section.by, *section.notes}
        for row in self._rows(section.name):
            if row.name == (only or row.name):
                yield row, take(row)
                for note in notes:
                    note(row)
                row.close(keys, sourced=section.sourced)

    def _rows(self, section: str) -> Iterator[Row]:
        """The rows of `[section]`, or of `[[section]]` numbered from 1; a section may be absent."""
        found = self._found(section)
        named = found.items() if isinstance(found, dict) else enumerate(found, 1) if isinstance(found, list) else None
        if named is None:
            self.fault(section, "", "must be a table")
        for name, row in named or ():
            if isinstance(row, dict):
                yield Row(self, f"{section}.{name}", str(name), row)
            else:
                self.fault(f"{section}.{name}", "", "must be a table")

    def _found(self, section: str) -> Any:
        """What stands under a name, or under one in another: what there is of `build`, of `build.2.8`."""
        outer, _, inner = section.partition(".")
        found = self.data.get(outer, {})
        return found[inner] if inner else found


@dataclass(slots=True, eq=False)
class Row:
    """One row. A faulty value is noted, and something stands in for it until `finish`."""

    table: Table
    label: str
    name: str
    found: dict[str, Any]

    def fault(self, key: str, why: str) -> None:
        self.table.fault(self.label, key, why)

    def value(self, key: str, kind: Kind, found: object) -> Any:
        try:
            return kind.read(found)
        except Wrong as error:
            for why in error.whys:
                self.fault(key or "name", why)
            return kind.stand_in

    def names(self, by: str) -> tuple[str, ...]:
        """What the row is called: the words of a key of it, else its own name."""
        if not by:
            return (self.name,)
        kind = kind_of(Words if isinstance(self.found.get(by), str) else tuple[str, ...])
        names: tuple[str, ...] = _column(by, kind, _REQUIRED)(self)
        return names

    @property
    def source(self) -> Source:
        return self.table.sources.get(str(self.found.get("source")), _NO_SOURCE)

    def close(self, keys: set[str], *, sourced: bool) -> None:
        """Every row names a known source and holds nothing that was not read."""
        source = self.found.get("source")
        if sourced and str(source) not in self.table.sources:
            self.fault("source", f"{source!r} is none of the file's sources")
        self.table.cited.add(str(source))
        for key in self.found:
            if key not in keys and key != "source":
                self.fault(key, "is not a key of this table")


Take: TypeAlias = Callable[[Row], Any]


class Column(NamedTuple):
    """How a field is taken from a row: the keys that this reads, and whether it is the row's own name."""

    field: str
    take: Take
    keys: frozenset[str] = frozenset()
    named: bool = False


def _made(kind: Any, row: Row) -> Any:
    """The row as that dataclass; its own `faults` are asked only where every value is sound."""
    before = len(row.table.faults)
    value = kind(**{name: take(row) for name, take, _, _ in _columns(kind)})
    if len(row.table.faults) == before:
        for key, why in getattr(value, "faults", tuple)():
            row.fault(key, why)
    return value


@cache
def _columns(kind: Any) -> tuple[Column, ...]:
    if not is_dataclass(kind):
        return ()
    hints = _hints(kind)
    return tuple(_column_of(each, hints[each.name]) for each in fields(kind))


def _hints(kind: Any) -> dict[str, Any]:
    """What the annotations of a dataclass mean; a class and those that it inherits from stand in one module.

    All in one go, since `get_type_hints` takes each by itself, which costs a start of the program 5 ms more.
    """
    spelt = ", ".join(f"{each.name!r}: {each.type}" for each in fields(kind))
    hints: dict[str, Any] = eval(f"{{{spelt}}}", vars(sys.modules[kind.__module__]))
    return hints


def _column_of(field: Field[Any], hint: Any) -> Column:
    name, marks = field.name, _marks(hint)
    if hint is Source:
        return Column(name, lambda row: row.source)
    if GIVEN in marks:
        return Column(name, lambda row: row.table.given[name])
    if NAME in marks:
        kind = kind_of(hint, text=True)
        return Column(name, lambda row: row.value("name", kind, row.name), named=True)
    if INLINE in marks:
        inner = get_args(hint.__origin__)[0]
        keys = frozenset(key for column in _columns(inner) for key in column.keys)
        return Column(name, lambda row: None if keys.isdisjoint(row.found) else _made(inner, row), keys)
    key = _mark(hint, Key) or Key(name)
    return Column(name, _column(key.name, kind_of(hint), _default(field, hint)), frozenset({key.name}))


def _default(field: Field[Any], hint: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return None if NoneType in get_args(hint.__origin__ if _marks(hint) else hint) else _REQUIRED


def _column(key: str, kind: Kind, default: object) -> Take:
    not_empty = default in (_REQUIRED, None)

    def take(row: Row) -> Any:
        found = row.found.get(key, default)
        if found is default and found is not _REQUIRED:
            return found
        if found is _REQUIRED or (found == "" and not_empty):
            row.fault(key, "is missing" if found is _REQUIRED else "is empty")
            return kind.stand_in
        return row.value(key, kind, found)

    return take


def _marks(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _mark(hint: Any, kind: type[T]) -> Any:
    return next((mark for mark in _marks(hint) if isinstance(mark, kind)), None)
