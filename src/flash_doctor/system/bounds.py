"""Reading what strangers wrote, with bounds that hold while it is read: JSON, rows of text, wheel tags.

Whatever is out of bounds is a ValueError, as what is malformed is one: nobody has to think of RecursionError,
MemoryError or an infinity in the place of a size.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flash_doctor.system.claims import Claimed
from flash_doctor.system.files import LIMIT, read_regular
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.tags import Tag
    from packaging.utils import NormalizedName
    from packaging.version import Version

# a value of three characters (`{},`) becomes 72 bytes: this many stay below 250 MB
MOST_VALUES = 2_000_000
DEPTH = 64  # far below the interpreter's limit, which what walks over the value has to share
DIGITS = 40
LONGEST_INTEGER = 4300  # digits that int() takes; the first releases of Python 3.10 have no such limit
MOST_ROWS = 1 << 18
_LONGEST_VALUE = 1 << 17
_MOST_TAGS = 4096
_LONGEST_NAME = 1024  # characters; a file system takes 255 bytes


class OutOfBounds(ValueError):
    """Longer, deeper or more than it may be."""


def read_json(
    source: bytes | str | Path,
    *,
    limit: int = LIMIT,
    values: int = MOST_VALUES,
    depth: int = DEPTH,
    digits: int = DIGITS,
    finite: bool = True,
    unique: bool = False,
    origin: str = "",
) -> Claimed[Any]:
    """The value of a JSON text that anybody may have written, as their claim.

    Args:
        source: the text, or the file that holds it.
        limit: bytes (of a str: characters) that it may have.
        values: values that it may hold, all levels together; commas in texts count too.
        depth: objects and lists that may lie in each other.
        digits: of one integer.
        finite: whether NaN, Infinity and what overflows to it (1e999) are refused; logs and other programs' files
            hold them.
        unique: whether a key that stands twice in one object is refused; JSON readers disagree which one counts.
        origin: whose word it is, for messages; of a file its path.

    Raises:
        OSError: the file cannot be read, is no regular file, or is too long.
        ValueError: it is no JSON, or out of these bounds.
    """
    data = read_regular(source, limit) if isinstance(source, Path) else source
    if len(data) > limit:
        _refuse(f"it is longer than {limit} bytes")
    text = data.decode(json.detect_encoding(data), "surrogatepass") if isinstance(data, bytes) else data
    if text.count(",") + text.count("[") + text.count("{") > values:
        _refuse(f"it holds more than {values} values")
    try:
        value = _decoder(digits, finite, unique).decode(text)
    except RecursionError:
        _refuse(_too_deep(depth))
    _check_depth(value, depth)
    return Claimed(value, origin or (str(source) if isinstance(source, Path) else "a text"))


def read_toml(
    text: str, *, limit: int = 1 << 20, depth: int = DEPTH, digits: int = DIGITS, origin: str = ""
) -> Claimed[dict[str, Any]]:
    """The table of a TOML text that anybody may have written, as their claim; the bounds are those of `read_json`.

    Raises:
        ValueError: it is no TOML, or out of these bounds.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(text) > limit:
        _refuse(f"it is longer than {limit} characters")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        _refuse(_too_deep(depth))
    _check_depth(table, depth)
    _check_integers(table, 10**digits, digits)
    return Claimed(table, origin or "a text")


def _check_integers(value: object, most: int, digits: int) -> None:
    """Within the depth that was checked before; hexadecimal ones have no limit in the parser."""
    if isinstance(value, int) and not -most < value < most:
        _refuse(f"a number of more than {digits} digits")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_integers(inner, most, digits)


def _refuse(why: str) -> NoReturn:
    raise OutOfBounds(why)


def _too_deep(depth: int) -> str:
    return f"it is nested more than {depth} levels deep"


def _check_depth(value: object, depth: int) -> None:
    """Level by level, for a function that calls itself would be what is to be prevented."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    while level:
        if not depth:
            _refuse(_too_deep(depth))
        depth -= 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]


@cache
def _decoder(digits: int, finite: bool, unique: bool) -> json.JSONDecoder:
    def integer(text: str) -> int:
        if len(text) > digits:
            _refuse(f"a number of {len(text)} digits")
        return int(text)

    return json.JSONDecoder(
        parse_int=integer,
        parse_float=_finite if finite else None,
        parse_constant=_no_number if finite else None,
        object_pairs_hook=_unique if unique else None,
    )


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        _no_number(text)
    return value


def _no_number(text: str) -> NoReturn:
    message = f"{cut(text, 20)} is no finite number"
    raise ValueError(message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = f"the key {cut(twice, 80)!r} stands twice in one object"
        raise ValueError(message)
    return found


def count_of(value: object) -> int:
    """A number that a file states, as an integer from 0 to below 2^63.

    Raises:
        ValueError: it is no number, infinite, negative, or larger than anything that is counted here.
    """
    if isinstance(value, (int, float, str)):
        try:
            number = int(value)
        except (OverflowError, ValueError):
            number = -1
        if 0 <= number < 1 << 63:
            return number
    message = f"{cut(str(value), 80)} is no number of something"
    raise ValueError(message)


def csv_rows(text: str, *, rows: int = MOST_ROWS, separator: str = ",") -> Iterator[list[str]]:
    """The rows of a text of separated values, as RECORD is one; empty ones are left out.

    Raises:
        ValueError: malformed, a zero byte, more than `rows` rows, or a value of more than 128 kB.
    """
    if "\0" in text:  # csv refuses it up to Python 3.10, and takes it for a sign like any other since
        _refuse("a value holds a zero byte")
    found = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for number, row in enumerate(found):
            if number >= rows:
                _refuse(f"it has more than {rows} rows")
            # csv's own limit is one for the whole process, and readers of data files have raised it
            if max(map(len, row), default=0) > _LONGEST_VALUE:
                _refuse(f"row {number + 1} holds a value of more than {_LONGEST_VALUE} characters")
            if row:
                yield row
    except csv.Error as error:
        raise ValueError(str(error)) from error


def record_rows(path: Path) -> Claimed[list[list[str]]]:
    """The rows of an installed distribution's RECORD; names that are no UTF-8 keep their bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is longer than any RECORD there is.
        ValueError: malformed, or more rows than any has.
    """
    return Claimed(list(csv_rows(read_regular(path).decode("utf-8", "surrogateescape"))), str(path))


def tags_of(text: str) -> frozenset[Tag]:
    """The tags of a wheel's name or of a line of WHEEL: py2.py3-none-any stands for two of them.

    Raises:
        ValueError: there are not three parts, or what they stand for would be more than any wheel is made for.
    """
    from packaging.tags import parse_tag

    parts = text.split("-")
    if len(parts) != 3:
        message = f"{cut(text, 80)!r} is no tag"
        raise ValueError(message)
    if math.prod(part.count(".") + 1 for part in parts) > _MOST_TAGS:
        _refuse(f"{cut(text, 80)!r} stands for more than {_MOST_TAGS} tags")
    return parse_tag(text)


def wheel_name(filename: str) -> tuple[NormalizedName, Version, frozenset[Tag]]:
    """Project, version and tags that a wheel's file name states.

    Raises:
        ValueError: it is no wheel's name, or stands for more tags than any wheel is made for.
    """
    from packaging.utils import parse_wheel_filename

    if len(filename) > _LONGEST_NAME:
        _refuse(f"a file name of {len(filename)} characters")
    tags = tags_of("-".join(filename.removesuffix(".whl").rsplit("-", 3)[1:]))
    name, version, _, _ = parse_wheel_filename(filename)
    return name, version, tags
