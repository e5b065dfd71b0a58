"""`-r requirements.txt`: the lines that hold for the target, each with its file and line number.

system/requirement.py reads what the specification knows; what only pip knows (`-e`, paths, bare addresses) goes to
pip-api (target.py), each line alone, because pip-api evaluates markers for the Python it runs in and counts joined
lines once. The file may be a stranger's: lines, files and depth are bounded, no variable's value gets into a report.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.errors import BadInput
from flash_doctor.model import IndexSetting, RequirementLine
from flash_doctor.probe.target import requirements_of
from flash_doctor.system.files import open_regular
from flash_doctor.system.redact import cut, secrets
from flash_doctor.system.requirement import holds, parse, valid_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flash_doctor.system.process import Runner
    from flash_doctor.system.requirement import Requirement

LIMIT = 4 << 20  # bytes of all files: ten times the longest lock file that we know
LONGEST = 256 * 1024  # characters of a joined line: a requirement with the hashes of two thousand files
DEEPEST, MOST_FILES = 16, 200

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(?:(?P<long>--[a-z][a-z0-9-]*)(?:[\s=]+|$)|(?P<short>-[cefir])[\s=]*)(?P<value>.*)")
_NESTED = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}  # whether it holds constraints
_INDEX = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links")
_EDITABLE = ("-e", "--editable")
_BEHIND = re.compile(r"(--hash|--config-settings?|--global-option|--install-option|-C)(=.*)?")
_VARIABLE = re.compile(r"(?<=[=<>~!])(\s*)\$\{([A-Z0-9_]+)\}")
# a variable's value may be a secret: only what cannot be one, a version, is put in its place
_RELEASE = re.compile(r"\d{1,4}(?:\.\d{1,4}){1,4}(?:\.?(?:a|b|rc|post|dev)\d{1,8})?")
_ARCHIVE = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar")


class Requirements(NamedTuple):
    """What a requirements file asks for, and the indexes it names."""

    lines: tuple[RequirementLine, ...]
    indexes: tuple[IndexSetting, ...]


class _Line(NamedTuple):
    text: str
    file: Path
    number: int
    constraint: bool = False
    shown: bool = True

    def fault(self, why: str) -> BadInput:
        """The text is evidence where the user named the file; `-r /etc/shadow` in it must not print that."""
        if not self.shown:
            return BadInput(f"{self.file}, line {self.number}: it is no requirement, and no option of pip's")
        return BadInput(f"{self.file}, line {self.number}: {why}", evidence=(cut(self.text, 400),))


def read_requirements(
    file: Path, markers: Mapping[str, str], environ: Mapping[str, str], runner: Runner
) -> Requirements:
    """The requirements of `file` and of the files it names (-r, -c) whose marker holds for the target.

    Args:
        file: a requirements file as pip reads it.
        markers: the target's marker environment.
        environ: variables for `${NAME}` in the file, of which only versions are taken.
        runner: starts pip-api's own process, where a line needs it.

    Raises:
        BadInput: a file that cannot be read, or a line that is no requirement; the message names file and line.
    """
    try:
        lines = tuple(_FileReader().lines(file))
    except FileNotFoundError as error:
        message = f"{file}: there is no such requirements file"
        raise BadInput(message) from error
    asked: list[RequirementLine | _ForPip] = []
    indexes: list[IndexSetting] = []
    for line in lines:
        option, value = _option(line)
        if option in _INDEX:
            origin = f"{line.file}, line {line.number}"
            indexes.append(IndexSetting(url=secrets(value), origin=origin))
        elif not option or option in _EDITABLE:
            read = _Asked(line, markers, environ)
            asked += read.editable(value) if option else read.requirement()
    return Requirements(_by_pip(asked, runner), tuple(indexes))


def _by_pip(asked: Sequence[RequirementLine | _ForPip], runner: Runner) -> tuple[RequirementLine, ...]:
    """All of them, after pip-api was asked once for those that it alone knows."""
    answers = iter(requirements_of([one.text for one in asked if isinstance(one, _ForPip)], runner))
    return tuple(one.told(next(answers)) if isinstance(one, _ForPip) else one for one in asked)


def _option(line: _Line) -> tuple[str, str]:
    """The option that the line is, and its value; two empty texts for a requirement."""
    if not line.text.startswith("-"):
        return "", ""
    match = _OPTION.fullmatch(line.text)
    if match is None:
        why = f"{cut(line.text, 80)!r} is no option that a requirements file can have"
        raise line.fault(why)
    return match["long"] or match["short"], match["value"]


@dataclass
class _FileReader:
    """Reads a file and those that it names; `files` are the ones that were read, `left` how many bytes may be."""

    files: set[Path] = field(default_factory=set)
    left: int = LIMIT

    def lines(self, file: Path, depth: int = 0) -> Iterator[_Line]:
        """Every line, those of nested files in their place, each file once."""
        if (resolved := file.resolve()) in self.files:
            return
        self.files.add(resolved)
        if len(self.files) > MOST_FILES or depth > DEEPEST:
            raise _unreadable(file, f"more than {MOST_FILES} files, or {DEEPEST} in each other, are named with -r")
        for line in self._joined(file, depth):
            option, value = _option(line)
            if option in _NESTED and value:
                for found in self._nested(line, value, depth):
                    yield found._replace(constraint=found.constraint or _NESTED[option])
            else:
                yield line

    def _nested(self, line: _Line, name: str, depth: int) -> Iterator[_Line]:
        if "://" in name:
            why = "a requirements file at an address is not fetched: check never uses the network"
            raise line.fault(why)
        try:
            yield from self.lines(line.file.parent / name, depth + 1)
        except FileNotFoundError as error:
            why = f"it names {name}, which is not there"
            raise line.fault(why) from error

    def _joined(self, file: Path, depth: int) -> Iterator[_Line]:
        """Lines with their continuations, comments off, numbered by their first line."""
        parts: list[str] = []
        start = 1
        for number, raw in enumerate([*self._text(file, depth).splitlines(), ""], 1):
            text = _COMMENT.sub("", raw)
            parts.append(text.removesuffix("\\"))
            if text.endswith("\\"):
                continue
            joined = "".join(parts).strip()
            if len(joined) > LONGEST:
                raise _unreadable(file, f"line {start} has {len(joined)} characters")
            if joined:
                yield _Line(joined, file, start, shown=not depth)
            parts, start = [], number + 1

    def _text(self, file: Path, depth: int) -> str:
        try:
            # the user's own may be a pipe: -r <(...)
            with open_regular(file) if depth else file.open("rb") as stream:
                data = stream.read(self.left + 1)
            self.left -= len(data)
            text = data.decode("utf-8-sig")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(file, str(error.strerror)) from error
        except ValueError as error:  # of the decoder, or of a name with a NUL
            raise _unreadable(file, "it is not UTF-8 text") from error
        if self.left < 0:
            raise _unreadable(file, f"with the files it names it is longer than {LIMIT >> 20} MiB")
        if "\0" in text:
            raise _unreadable(file, "it is no text")
        return text


def _unreadable(file: Path, why: str) -> BadInput:
    return BadInput(f"{file} cannot be read as a requirements file: {why}")


@dataclass(frozen=True)
class _Asked:
    """What one line asks for; nothing where its marker does not hold for the target."""

    line: _Line
    markers: Mapping[str, str]
    environ: Mapping[str, str]

    def requirement(self) -> tuple[RequirementLine | _ForPip, ...]:
        text = _VARIABLE.sub(self._version, self._without_options(self.line.text))
        try:
            asked = parse(text)
        except BadInput as error:
            if _is_of_specification(text):
                raise self.line.fault(_with_variables(error.message, text)) from error
            return self._of_pip(text)
        return self._told(asked) if asked.holds(self.markers) else ()

    def editable(self, value: str) -> tuple[_ForPip, ...]:
        place = self._without_options(value)
        if not place or place.startswith("-"):
            why = "-e names no folder and no address"
            raise self.line.fault(why)
        return self._of_pip(place, "-e ")

    def _told(self, asked: Requirement) -> tuple[RequirementLine, ...]:
        specifier = f"@ {asked.url}" if asked.url else asked.specifier
        return (self.found(asked.bare, str(asked.name), specifier),)

    def _of_pip(self, text: str, option: str = "") -> tuple[_ForPip, ...]:
        """A path, an address or an archive, which only pip has rules for."""
        bare, condition = _split_marker(text)
        try:
            held = not condition or holds(condition, self.markers)
        except BadInput as error:
            raise self.line.fault(_with_variables(error.message, text)) from error
        return (_ForPip(self, option + bare),) if held else ()

    def found(self, text: str, name: str, specifier: str) -> RequirementLine:
        return RequirementLine(
            requirement=secrets(text),
            name=valid_name(name),
            specifier=secrets(specifier),
            line=self.line.number,
            file=self.line.file,
            constraint=self.line.constraint,
        )

    def _version(self, match: re.Match[str]) -> str:
        value = self.environ.get(match[2], "")
        return match[1] + value if _RELEASE.fullmatch(value) else match[0]

    def _without_options(self, text: str) -> str:
        """The text in front of the first option, as pip cuts it; what stands behind must be options of a line."""
        bare, *behind = re.split(r"\s(?=-)", text, maxsplit=1)
        try:
            words = shlex.split(behind[0]) if behind else []
        except ValueError as error:
            why = f"its options cannot be read: {error}"
            raise self.line.fault(why) from error
        while words:
            word = words.pop(0)
            match = _BEHIND.fullmatch(word)
            if match is None:
                why = f"{cut(word, 80)!r} is no option that can stand behind a requirement"
                raise self.line.fault(why)
            del words[: 0 if match[2] else 1]
        return bare.strip()


@dataclass(frozen=True)
class _ForPip:
    """A line that is still to be asked of pip-api, in the words in which it is."""

    asked: _Asked
    text: str

    def told(self, answer: tuple[str, str] | str) -> RequirementLine:
        """The line with pip-api's answer, a name and a rest; or its complaint."""
        if isinstance(answer, str):
            raise self.asked.line.fault(_with_variables(answer, self.text))
        try:
            return self.asked.found(self.text, *answer)
        except BadInput as error:
            raise self.asked.line.fault(_with_variables(error.message, self.text)) from error


def _is_of_specification(text: str) -> bool:
    """Whether the specification's reader has the last word on it: it is no address, no path and no archive."""
    return not ("/" in text or text.startswith(".") or text.partition(";")[0].rstrip().endswith(_ARCHIVE))


def _with_variables(why: str, text: str) -> str:
    hint = "; ${...} is put in for a version alone, for it may be a secret"
    return why + hint if "${" in text else why


def _split_marker(text: str) -> tuple[str, str]:
    """Requirement and marker; an address may hold a `;`, so there the space before or after it decides."""
    if "://" in text:
        bare, _, marker = re.sub(r"\s;|;\s", "\0", text, count=1).partition("\0")
    else:
        bare, _, marker = text.partition(";")
    return bare.strip(), marker.strip()
