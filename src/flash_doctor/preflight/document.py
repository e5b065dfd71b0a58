"""A YAML or JSON file as values with line numbers: duplicate keys kept, size, depth and aliases bounded.

The values are those that PyYAML (YAML 1.1) gives the training frameworks: `no` is false, `1e-4` is a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadInput
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 * 1024 * 1024
MAX_YAML = 256 * 1024  # characters: the parser needs seconds for each 100 kB
MAX_VALUES = 100_000
MAX_DEPTH = 64
MAX_BRACKETS = 300  # open at one place, those in texts included; the parser takes quadratic time over them
_ADVICE = "Name the YAML file that the training program is started with."
_NESTING = re.compile(r"[\[{\]}\n]|-(?=\s)")
# what ruamel lets out where it meets what it did not think of: an escape beyond Unicode, a directive cut off
_PARSER_FAULTS = (
    *(ValueError, TypeError, AttributeError, LookupError, NotImplementedError, ArithmeticError, AssertionError),
)
_LONGEST_NUMBER = 40  # characters; what is longer stays a text
_TRUE = {"yes", "true", "on"}
_FALSE = {"no", "false", "off"}
# what PyYAML leaves a text: an exponent without a point before it, or without a sign
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*([eE][-+]?[0-9]+|\.[0-9_]*[eE][0-9]+)")
_FROM_HERE = "it cannot be parsed from here on"
_TAB_WHY = "a tab in the indentation; YAML allows only spaces there"
_TAB_BEHIND = "a tab behind a value or a colon; PyYAML, which reads it in the training program, takes only spaces"
_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq", f"{_TAG}omap", f"{_TAG}set", f"{_TAG}pairs"}
_PLAIN = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "binary", "merge", "value")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A key that stands twice in one mapping: its path, the two lines (from 1) and their values."""

    key: str
    first: int
    again: int
    values: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file: its mapping, the line of each key by path (`datasets/0/type`), and repeated keys."""

    path: Path
    value: Mapping[str, Any]
    lines: Mapping[str, int]
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A text that is no YAML mapping: the line (from 1), what is wrong there, and the line itself with a caret."""

    path: Path
    line: int
    why: str
    shown: tuple[str, ...]


def read_text(path: Path, advice: str = _ADVICE) -> str:
    """The file as text.

    Raises:
        BadInput: missing, a folder, too large, not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read"
        raise BadInput(message, evidence=(getattr(error, "strerror", None) or str(error),), advice=advice) from error
    if len(data) > MAX_BYTES:
        message = f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB: that is no configuration file"
        raise BadInput(message, advice=advice)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is no text in UTF-8"
        raise BadInput(message, evidence=(str(error),), advice=advice) from error
    if "\x00" in text:
        message = f"{path} is a binary file"
        raise BadInput(message, evidence=(f"a zero byte at position {text.index(chr(0))}",), advice=advice)
    return text


def read_document(path: Path) -> Document | Malformed:
    """The file's mapping, or where and why it is not YAML.

    Raises:
        BadInput: it cannot be read at all, or is built to grow without end when it is.
    """
    text = read_text(path)
    if path.suffix == ".json":
        text = text.replace("\t", "  ")  # there it is only white space, and JSON without tabs is YAML
    if len(text) > MAX_YAML:
        raise _too_much(path, f"it is longer than {MAX_YAML // 1024} kB")
    if _open_brackets(text) > MAX_BRACKETS:
        raise _too_much(path, f"it is nested more than {MAX_DEPTH} levels deep")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    # its parser for round trips keeps comments, and fails on some that PyYAML passes over
    parser = YAML(typ="safe", pure=True)
    parser.version = (1, 1)
    try:
        node = parser.compose(text)
    except RecursionError:
        raise _too_much(path, f"it is nested more than {MAX_DEPTH} levels deep") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = _tab_why(text, mark) if "'\\t'" in str(error.problem) else error.problem or str(error)
        return _malformed(path, text, mark.line if mark else 0, mark.column if mark else 0, why)
    except (YAMLError, *_PARSER_FAULTS) as error:
        return _malformed(path, text, parser.reader.line, 0, f"{_FROM_HERE}: {cut(repr(error), 200)}")
    builder = _Builder(path, plain_exponents=path.suffix == ".json")
    value = builder.build(node, "", 0) if node is not None else None
    if builder.unknown_tag:
        line, tag = builder.unknown_tag
        return _malformed(path, text, line, 0, f"the tag {tag} is not known to the training program")
    tab = _tab(text, builder.blocks)
    if tab is not None:
        return _malformed(path, text, tab, 0, _TAB_WHY)
    if not isinstance(value, dict):
        return _malformed(path, text, 0, 0, "the top level is no mapping of keys to values")
    return Document(path=path, value=value, lines=builder.lines, duplicates=tuple(builder.duplicates))


def _tab_why(text: str, mark: Any) -> str:
    before = text.splitlines()[mark.line][: mark.column] if mark else ""
    return _TAB_BEHIND if before.strip() else _TAB_WHY


def _open_brackets(text: str) -> int:
    """The most brackets and list marks that are open at one place, roughly: texts and comments are not left out."""
    brackets = dashes = most = 0
    for mark in _NESTING.finditer(text):
        brackets = max(0, brackets + (mark[0] in "[{") - (mark[0] in "]}"))
        dashes = 0 if mark[0] == "\n" else dashes + (mark[0] == "-")
        most = max(most, brackets, dashes)
    return most


def _malformed(path: Path, text: str, line: int, column: int, why: str) -> Malformed:
    lines = text.splitlines() or [""]
    shown = cut(lines[min(line, len(lines) - 1)], 200)
    return Malformed(path=path, line=line + 1, why=why, shown=(shown.replace("\t", "→"), " " * min(column, 199) + "^"))


def _too_much(path: Path, why: str) -> BadInput:
    return BadInput(f"{path} is no reasonable configuration file", evidence=(why,), advice=_ADVICE)


def _tab(text: str, blocks: list[tuple[int, int]]) -> int | None:
    """The first line (from 0) whose indentation holds a tab, outside of texts that go over several lines."""
    for number, line in enumerate(text.splitlines()):
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation and line.strip() and not any(first < number <= last for first, last in blocks):
            return number
    return None


@dataclass
class _Builder:
    """Turns composed nodes into values, counting each time an alias is followed."""

    path: Path
    plain_exponents: bool = False
    lines: dict[str, int] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    unknown_tag: tuple[int, str] | None = None
    made: int = 0
    open: set[int] = field(default_factory=set)

    def build(self, node: Any, path: str, depth: int) -> Any:
        self.made += 1
        if self.made > MAX_VALUES:
            raise _too_much(self.path, f"its aliases (*name) unfold to more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise _too_much(self.path, f"it is nested more than {MAX_DEPTH} levels deep")
        if id(node) in self.open:
            raise _too_much(self.path, f"line {node.start_mark.line + 1}: a value includes itself through an alias")
        kind = node.id if hasattr(node, "id") else ""
        if kind == "scalar":
            return self._scalar(node)
        if str(node.tag) not in _COLLECTIONS:
            self.unknown_tag = self.unknown_tag or (node.start_mark.line, str(node.tag).replace(_TAG, "!!"))
        self.open.add(id(node))
        value = self._mapping(node, path, depth) if kind == "mapping" else self._sequence(node, path, depth)
        self.open.discard(id(node))
        return value

    def _sequence(self, node: Any, path: str, depth: int) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            place = f"{path}/{index}" if path else str(index)
            self.lines.setdefault(place, item.start_mark.line + 1)
            items.append(self.build(item, place, depth + 1))
        return items

    def _mapping(self, node: Any, path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node.value, str) else "?"
            if key == "<<" and key_node.tag == f"{_TAG}merge":
                for more in self._merged(value_node, path, depth):
                    merged = {**more, **merged}
                continue
            place = f"{path}/{key}" if path else key
            line = key_node.start_mark.line + 1
            value = self.build(value_node, place, depth + 1)
            if key in made:
                pair = (_short(made[key]), _short(value))
                self._repeated(Duplicate(key=place, first=self.lines[place], again=line, values=pair))
            self.lines[place] = line
            made[key] = value
        return {**merged, **made}

    def _repeated(self, found: Duplicate) -> None:
        """Told once, however many aliases lead to it."""
        if all((known.first, known.again) != (found.first, found.again) for known in self.duplicates):
            self.duplicates.append(found)

    def _merged(self, node: Any, path: str, depth: int) -> Iterator[dict[str, Any]]:
        value = self.build(node, path, depth + 1)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item

    def _scalar(self, node: Any) -> Any:
        text, tag = node.value, str(node.tag)
        if node.end_mark.line > node.start_mark.line:
            self.blocks.append((node.start_mark.line, node.end_mark.line))
        if tag not in _PLAIN:
            self.unknown_tag = self.unknown_tag or (node.start_mark.line, tag.replace(_TAG, "!!"))
            return text
        if self.plain_exponents and tag == f"{_TAG}float":
            return _real(text)
        return scalar(text, tag.removeprefix(_TAG))


def scalar(text: str, tag: str) -> Any:
    """The value of a plain word as PyYAML makes it; what it would not take as a number stays text."""
    if tag == "null":
        return None
    if tag == "bool":
        word = text.lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if tag == "int":
        return _integer(text)
    if tag == "float":
        return text if _EXPONENT.fullmatch(text) else _real(text)
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    if len(digits) > _LONGEST_NUMBER:
        return text
    try:
        if ":" in digits:  # 12:30:45 is base 60 in YAML 1.1
            return reduce(lambda total, part: 60 * total + int(part), digits.lstrip("+-").split(":"), 0) * (
                -1 if digits.startswith("-") else 1
            )
        if re.fullmatch(r"[-+]?0[0-7]+", digits):
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        return text


def _real(text: str) -> float | str:
    word = text.replace("_", "").lower()
    try:
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", word))
    except ValueError:
        return text


def _short(value: object) -> str:
    return cut(str(value), 60, mark="...")
