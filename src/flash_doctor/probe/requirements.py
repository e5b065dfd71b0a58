"""`-r requirements.txt`: the lines that hold for the target, each with its file and line number.

pip-api reads the single requirement (target.py); joining lines, nested files and markers are done here, because
pip-api evaluates markers for the Python it runs in and counts joined lines once.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.utils import canonicalize_name

from flash_doctor.errors import BadInput
from flash_doctor.model import IndexSetting, RequirementLine
from flash_doctor.system.files import LIMIT
from flash_doctor.system.redact import secrets
from flash_doctor.target import requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COMMENT = re.compile(r"(^|\s)#.*$")
_NESTED = re.compile(r"(?P<option>-r|--requirement|-c|--constraint)[\s=]*(?P<file>\S.*)")
_INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url|-f|--find-links)[\s=]*(?P<address>\S+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]*\S")
_LINE_OPTIONS = re.compile(r"\s+--(?:hash|config-settings?|global-option|install-option)[\s=].*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


class Requirements(NamedTuple):
    """What a requirements file asks for, and the indexes it names."""

    lines: tuple[RequirementLine, ...]
    indexes: tuple[IndexSetting, ...]


class _Line(NamedTuple):
    text: str
    file: Path
    number: int
    constraint: bool = False

    def fault(self, why: str) -> BadInput:
        return BadInput(f"{self.file}, line {self.number}: {why}", evidence=(self.text,))


def read_requirements(file: Path, markers: Mapping[str, str], environ: Mapping[str, str]) -> Requirements:
    """The requirements of `file` and of the files it names (-r, -c) whose marker holds for the target.

    Args:
        file: a requirements file as pip reads it.
        markers: the target's marker environment.
        environ: variables for `${NAME}` in the file.

    Raises:
        BadInput: a file that cannot be read, or a line that is no requirement; the message names file and line.
    """
    try:
        lines = [_expanded(line, environ) for line in _lines(file, set())]
    except FileNotFoundError as error:
        message = f"{file}: there is no such requirements file"
        raise BadInput(message) from error
    indexes = tuple(found for line in lines if (found := _index(line)))
    with tempfile.TemporaryDirectory(prefix="flash-doctor-") as scratch:
        wanted = [line for line in lines if not line.text.startswith("-") or _EDITABLE.match(line.text)]
        held = tuple(item for line in wanted if (item := _requirement(line, markers, Path(scratch))))
    return Requirements(held, indexes)


def _index(line: _Line) -> IndexSetting | None:
    match = _INDEX.match(line.text)
    origin = f"{line.file}, line {line.number}"
    return IndexSetting(url=secrets(match["address"]), origin=origin) if match else None


def _expanded(line: _Line, environ: Mapping[str, str]) -> _Line:
    """Variables replaced as pip does: `${NAME}` only, and only where it is set."""
    return line._replace(text=_VARIABLE.sub(lambda match: environ.get(match[1], match[0]), line.text))


def _lines(file: Path, seen: set[Path]) -> Iterator[_Line]:
    """Every line of the file, nested files in their place, each file once."""
    if (resolved := file.resolve()) in seen:
        return
    seen.add(resolved)
    for line in _joined(file):
        if nested := _NESTED.fullmatch(line.text):
            constraint = nested["option"].lstrip("-").startswith("c")
            for found in _nested(line, nested["file"], seen):
                yield found._replace(constraint=found.constraint or constraint)
        else:
            yield line


def _nested(line: _Line, name: str, seen: set[Path]) -> Iterator[_Line]:
    if "://" in name:
        why = "a requirements file at an address is not fetched: check never uses the network"
        raise line.fault(why)
    try:
        yield from _lines(line.file.parent / name, seen)
    except FileNotFoundError as error:
        why = f"it names {name}, which is not there"
        raise line.fault(why) from error


def _joined(file: Path) -> Iterator[_Line]:
    """Lines with their continuations, comments off, numbered by their first line."""
    parts: list[str] = []
    start = 1
    for number, raw in enumerate(_text(file).splitlines(), 1):
        text = _COMMENT.sub("", raw)
        parts.append(text.removesuffix("\\"))
        if text.endswith("\\"):
            continue
        if joined := "".join(parts).strip():
            yield _Line(joined, file, start)
        parts, start = [], number + 1
    if joined := "".join(parts).strip():
        yield _Line(joined, file, start)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:  # a pipe will do: -r <(...)
            data = stream.read(LIMIT)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(file, str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(file, "it is not UTF-8 text") from error
    if "\0" in text:
        raise _unreadable(file, "it is no text")
    return text


def _unreadable(file: Path, why: str) -> BadInput:
    return BadInput(f"{file} cannot be read as a requirements file: {why}")


def _requirement(line: _Line, markers: Mapping[str, str], scratch: Path) -> RequirementLine | None:
    text = _LINE_OPTIONS.sub("", line.text)
    bare, condition = _split_marker(text)
    if condition and not _holds(condition, markers, line):
        return None
    try:
        name, specifier = requirement_of(bare, scratch)
    except BadInput as error:
        raise line.fault(error.message) from error
    return RequirementLine(
        requirement=secrets(bare),
        name=canonicalize_name(name),
        specifier=secrets(specifier),
        line=line.number,
        file=line.file,
        constraint=line.constraint,
    )


def _split_marker(text: str) -> tuple[str, str]:
    """Requirement and marker; an address may hold a `;`, so there the space before or after it decides."""
    if "://" in text:
        bare, _, marker = re.sub(r"\s;|;\s", "\0", text, count=1).partition("\0")
    else:
        bare, _, marker = text.partition(";")
    return bare.strip(), marker.strip()


def _holds(condition: str, markers: Mapping[str, str], line: _Line) -> bool:
    try:
        return Marker(condition).evaluate({**markers, "extra": ""})
    except (InvalidMarker, UndefinedEnvironmentName) as error:
        why = f"the condition after ';' is not understood: {str(error).splitlines()[0]}"
        raise line.fault(why) from error
