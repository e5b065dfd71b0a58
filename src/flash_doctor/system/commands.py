"""The one writer of command lines: what we advise to type is copied into a shell, often root's.

A line is a template of ours in which every value is one quoted word; names and versions of distributions are those of
the specification, a value cannot become an option, and what a terminal would not show as it is (control signs, signs
that turn the direction of text) gets no line at all. No other module joins a command (tests/test_house.py).
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, TypeAlias

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, CommandLine, Remedy, Unknown
from flash_doctor.system.requirement import parse, valid_name, valid_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flash_doctor.model import Finding, Goal, Python

Word: TypeAlias = "str | Path | int | Version | Variable | Caller"
Program: TypeAlias = "str | tuple[str, ...]"  # as the user typed it: one word, or `python -m flash_doctor`

OURS = "flash-doctor"
PLAN, FIX = CommandLine(f"{OURS} plan"), CommandLine(f"{OURS} fix")
LONGEST = 4096  # characters of a word: the longest path of Linux
UNWRITTEN = "No command is given: a name, a version or a path that belongs in it is none that may be typed."
_NO_LINE = "(it cannot be written as a command: a name or a path that belongs in it may not be typed)"

# control, format (bidi), surrogate, private use, line and paragraph separators: what the screen would spell otherwise
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES_VARIABLE = re.compile(r"(?:^|[\s;&|])(?:export|unset)(?:\s+[A-Za-z_]\w*)*\s+$")
# our commands that change or look at the target: they must name it, since they may be typed anywhere
_ABOUT_TARGET = re.compile(
    rf"^{OURS} (?:plan|fix|verify|rollback|abi|preflight|bundle|check(?!.* --host-only))(?![\w-])"
    r"(?!.* --(?:python|for|facts)(?![\w-]))"
)
_OURS_BEGIN = re.compile(rf"(?:^|(?<=[|;&] )){OURS} ")
_IN_TEXT = re.compile(r"`([^`\n]{1,500})`")


@dataclass(frozen=True, slots=True)
class Variable:
    """A word that is the value of a variable of the shell that runs the line; empty where it is not set."""

    name: str


@dataclass(frozen=True, slots=True)
class Caller:
    """The words at the beginning of a line that call us."""

    words: tuple[str, ...]

    def written(self) -> str | None:
        first, *rest = self.words
        program = _word(Path(first) if "/" in str(Path(first)) else first, "")
        return " ".join([program, *map(_quoted, rest)]) if program and all(map(_is_shown, rest)) else None


def command(template: str, *values: Word | Iterable[Word]) -> CommandLine | None:
    """The line of a template that stands in the source, each `{}` in it one word, or the words of an iterable.

    None where a value cannot be typed: hidden signs, an option in place of a name, a variable that is no name.
    """
    left = iter(values)
    return _written(template, lambda _name: next(left))


def of_facts(template: str, values: Mapping[str, Word]) -> CommandLine | None:
    """The line of a template of the fact files, with `{name}` where values go."""
    return _written(template, values.__getitem__)


def with_names(template: str) -> CommandLine:
    """A template of the fact files with the names of its values, for a person: `<cuda number>`."""
    parts = Formatter().parse(template)
    return CommandLine("".join(text + (f"<{name.replace('_', ' ')}>" if name else "") for text, name, _, _ in parts))


def comment(text: str) -> CommandLine:
    """A line that a shell passes over."""
    return CommandLine("# " + "".join(sign for sign in text if not _is_hidden(sign)))


def words(*own: str) -> CommandLine | None:
    """A line of these words: the user's own command line again, with options of ours; None for hidden signs."""
    quoted = [_quoted(word) for word in own]
    return CommandLine(" ".join(quoted)) if all(map(_is_shown, own)) else None


def pip(python: Python, arguments: str, *values: Word | Iterable[Word]) -> CommandLine | None:
    """The line of pip for the target, uv's where the target has no pip; `arguments` is a template."""
    if isinstance(python.pip, (Absent, Unknown)):
        return command(f"uv pip {arguments} --python {{}}", *values, python.executable)
    return command(f"{{}} -m pip {arguments}", python.executable, *values)


def install(python: Python, *requirements: str, options: str = "", index: str = "") -> CommandLine | None:
    """Installs for the target, from `index` where one is given, with `options` that stand in the source.

    None where one of them is no requirement of the specification.
    """
    try:
        lines = [parse(line).bare for line in requirements]
    except BadInput:
        return None
    given = f"{options} " if options else ""
    if index:
        return pip(python, f"install {given}{{}} --index-url {{}}", lines, index)
    return pip(python, f"install {given}{{}}", lines)


def uninstall(python: Python, *names: str) -> CommandLine | None:
    """Uninstalls from the target; None where one of them is no name of a distribution."""
    confirm = "" if isinstance(python.pip, (Absent, Unknown)) else "-y "
    try:
        return pip(python, f"uninstall {confirm}{{}}", [valid_name(name) for name in names])
    except BadInput:
        return None


def delete(path: Path) -> CommandLine | None:
    return command("rm -r {}", path)


def advice(text: str, *lines: CommandLine | None, goal: Goal | None = None) -> Remedy:
    """A remedy with all of these lines, or with a sentence in their place: a part of them may do harm alone."""
    written = all_or_none(lines)
    return Remedy(text=f"{text} {UNWRITTEN}" if lines and not written else text, commands=written, goal=goal)


def in_sentence(line: CommandLine | None) -> str:
    """A line as a part of a sentence."""
    return _NO_LINE if line is None else line


def called(program: Program) -> Caller:
    """The words that call us, as a value of a template."""
    return Caller((program,) if isinstance(program, str) else program)


def addressed(findings: Iterable[Finding], python: str | Path | None, program: Program) -> tuple[Finding, ...]:
    """The findings with our own commands as they can be typed: called as `program`, about `python`.

    Without `python` no interpreter was looked at, and none is named.
    """
    return tuple(
        replace(finding, remedy=remedy_addressed(finding.remedy, python, program)) if finding.remedy else finding
        for finding in findings
    )


def remedy_addressed(remedy: Remedy, python: str | Path | None, program: Program) -> Remedy:
    """One remedy, in the same manner."""
    lines = (line_addressed(line, python, program) for line in remedy.commands)
    return advice(text_addressed(remedy.text, python, program), *lines, goal=remedy.goal)


def text_addressed(text: str, python: str | Path | None, program: Program) -> str:
    """A text with our own commands in it, each between two backticks, in the same manner."""
    if OURS not in text:
        return text
    return _IN_TEXT.sub(lambda found: f"`{shown_addressed(found[1], python, program)}`", text)


def shown_addressed(text: str, python: str | Path | None, program: Program) -> str:
    """A line that is about to be shown, which went through this module before."""
    return in_sentence(line_addressed(CommandLine(text), python, program))


def line_addressed(line: CommandLine, python: str | Path | None, program: Program) -> CommandLine | None:
    """One line, in the same manner; ours may be the last of several programs in it."""
    begin = next((found.start() for found in _OURS_BEGIN.finditer(line) if _is_complete(line[: found.start()])), None)
    if begin is None:
        return line
    option = command(" --python {}", Path(python)) if python else CommandLine("")
    who = command("{}", called(program))
    if option is None or who is None:
        return None
    own = _ABOUT_TARGET.sub(lambda match: match[0] + option, line[begin:]).removeprefix(OURS)
    return CommandLine(f"{line[:begin]}{who}{own}")


def _is_complete(text: str) -> bool:
    """Whether no quote is open at its end."""
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def _written(template: str, value_of: Callable[[str], Word | Iterable[Word]]) -> CommandLine | None:
    line = ""
    for text, name, _, _ in Formatter().parse(template):
        line += text
        if name is not None:
            word = _value(value_of(name), line)
            if word is None:
                return None
            line += word
    return CommandLine(line)


def _value(value: Word | Iterable[Word], before: str) -> str | None:
    if isinstance(value, (str, Path, int, Version, Variable, Caller)):
        return _word(value, before)
    quoted: list[str] = []
    for each in value:
        word = _word(each, " ".join((before, *quoted, "")) if quoted else before)
        if word is None:
            return None
        quoted.append(word)
    return " ".join(quoted)


def _word(value: Word, before: str) -> str | None:
    """One value, quoted; `before` is the line up to it."""
    if isinstance(value, Variable):
        return f'"${{{value.name}:-}}"' if _VARIABLE.fullmatch(value.name) else None
    if isinstance(value, Caller):
        return value.written()
    text = str(value)
    if not _is_shown(text):
        return None
    if _NAMES_VARIABLE.search(before):
        return text if _VARIABLE.fullmatch(text) else None
    if before.endswith("==") and not _is_version(text):
        return None
    if isinstance(value, Path):
        # `-x` would be an option, and a first word with a `=` an assignment
        text = f"./{text}" if text.startswith("-") or (not before and "=" in text.partition("/")[0]) else text
    elif text.startswith("-") and (not before or before[-1].isspace()):
        return None
    return _quoted(text)


def _quoted(text: str) -> str:
    return f"'{text}'" if text.startswith("=") and "'" not in text else shlex.quote(text)  # zsh looks `=word` up


def _is_version(text: str) -> bool:
    try:
        valid_version(text)
    except BadInput:
        return False
    return True


def without_options(command_words: tuple[str, ...], *options: str) -> tuple[str, ...]:
    """The words of a command line without some options and their values."""
    left, skip = [], False
    for word in command_words:
        if not skip and word not in options:
            left.append(word)
        skip = not skip and word in options
    return tuple(left)


def all_or_none(lines: Iterable[CommandLine | None]) -> tuple[CommandLine, ...]:
    """Lines that belong together: a part of them may do harm alone."""
    written = tuple(lines)
    return tuple(line for line in written if line is not None) if None not in written else ()


def _is_shown(text: str) -> bool:
    return len(text) <= LONGEST and not any(map(_is_hidden, text))


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign) in _HIDDEN
