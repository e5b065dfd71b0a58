"""Every advised command of ours begins as the user called us, can be typed, is one of ours, names the patient."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from typer.core import TyperGroup
from ward import Patient, ward

from flash_doctor.cli.app import app
from flash_doctor.cli.explain_code import every_code
from flash_doctor.cli.typed import python_of, typed
from flash_doctor.diagnose import diagnose
from flash_doctor.facts import Facts
from flash_doctor.model import Target
from flash_doctor.system.commands import OURS, command, line_addressed, remedy_addressed, text_addressed
from flash_doctor.system.paths import program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.system.commands import Program

PATIENT = "my 'own' env/bin/python"
PROGRAMS: tuple[Program, ...] = (("doctor",), ("python", "-m", "flash_doctor"), ("/opt/a b/doctor",))
ANOTHER = (".venv", "PATH")  # where the advice is to look at another environment
ABOUT = {"plan", "fix", "verify", "rollback", "check", "abi", "preflight", "bundle"}
SOURCE = Path(__file__).parents[2] / "src" / "flash_doctor"


@cache
def parser() -> TyperGroup:
    made = typer.main.get_command(app())
    assert isinstance(made, TyperGroup)
    return made


def parse(words: list[str]) -> None:
    """Raises what a usage error raises."""
    context = parser().make_context(OURS, words, resilient_parsing=False)
    name, chosen, left = parser().resolve_command(context, words)
    assert chosen is not None
    if isinstance(chosen, TyperGroup):
        sub = chosen.make_context(name, list(left), parent=context)
        name, chosen, left = chosen.resolve_command(sub, list(left))
        assert chosen is not None
    chosen.make_context(name, list(left), parent=context)


def in_backticks(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from re.findall(r"`([^`\n]+)`", text)


def own(lines: Iterable[str], called: tuple[str, ...]) -> Iterator[list[str]]:
    """The words behind the words that call us."""
    for line in lines:
        assert not re.search(rf"(?:^|[|;&] ){OURS} ", line), line
        for part in re.split(r" [|;&]+ ", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # the middle of another program's line
                continue
            if tuple(words[: len(called)]) == called:
                yield words[len(called) :]


def hold(words: list[str]) -> None:
    """It is one of ours, and names the patient where it is about one."""
    words = words[: words.index(">")] if ">" in words else words
    if not words or "--help" in words:
        return
    try:
        parse(words)
    except Exception as error:
        raise AssertionError(words) from error
    if words[0] in ABOUT and not {"--host-only", "--for"} & set(words):
        assert python_of(words) in {PATIENT, *ANOTHER}, words


@pytest.mark.parametrize("called", PROGRAMS)
@pytest.mark.parametrize("sick", ward(), ids=lambda sick: sick.name)
def test_of_check(sick: Patient, called: tuple[str, ...]) -> None:
    target = Target(python=Path("/usr/bin/python3"), why="given", given=PATIENT)
    report = diagnose(target, sick.environment, facts(), program=called)
    remedies = [finding.remedy for finding in report.findings if finding.remedy]
    lines = [line for remedy in remedies for line in remedy.commands]
    for words in own([*lines, *in_backticks(remedy.text for remedy in remedies)], called):
        hold(words)


@cache
def facts() -> Facts:
    return Facts()


@pytest.mark.parametrize("called", PROGRAMS)
def test_of_explain_preflight_and_watch(called: tuple[str, ...]) -> None:
    found = 0
    for told in (each for group in every_code().values() for each in group):
        remedies = [remedy_addressed(remedy, PATIENT, called) for remedy in told.remedies]
        texts = [told.cause, *told.tell_apart]
        lines: list[str] = [line for remedy in remedies for line in remedy.commands]
        lines += in_backticks([*(remedy.text for remedy in remedies)])
        lines += in_backticks(text_addressed(text, PATIENT, called) for text in texts)
        for words in own(lines, called):
            hold(words)
            found += 1
    assert found > 100


def test_a_command_in_a_pipe_is_ours_and_one_in_quotes_is_not() -> None:
    piped = command("python -c 'import torch' 2>&1 | flash-doctor explain -")
    quoted = command("echo {}", "x | flash-doctor plan")
    assert piped
    assert quoted
    assert line_addressed(piped, None, ("doctor",)) == "python -c 'import torch' 2>&1 | doctor explain -"
    assert line_addressed(quoted, None, ("doctor",)) == quoted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-m", "flash_doctor", "check"], ("python", "-m", "flash_doctor")),
        (["/x/my env/python", "-I", "-m", "flash_doctor"], ("/x/my env/python", "-I", "-m", "flash_doctor")),
        (["/x/python", "./bin/doctor", "check"], ("./bin/doctor",)),
        (["/x/python", "-I", "/nowhere/flash-doctor"], ("/nowhere/flash-doctor",)),
        (["/x/python", "-m", "pytest", "doctor"], ("flash-doctor",)),
    ],
)
def test_how_the_user_calls_us(words: list[str], expected: tuple[str, ...]) -> None:
    assert program({}, words) == expected


def test_a_bare_name_was_looked_up(tmp_path: Path) -> None:
    (tmp_path / "doctor").touch(mode=0o755)
    assert program({"PATH": str(tmp_path)}, ["/x/python", str(tmp_path / "doctor")]) == ("doctor",)


def test_an_error_advises_as_it_was_called() -> None:
    assert typed("Do: `flash-doctor fix`.", ["fix", "--python", PATIENT]) == (
        f"Do: `flash-doctor fix --python {shlex.quote(PATIENT)}`."
    )


def test_no_sentence_names_a_command_of_ours_without_marking_it() -> None:
    """Facts and code alike: what is between backticks, or a whole line of `commands`, goes through the writer."""
    root = SOURCE.parents[1] / "wheel_matrix"
    names = "|".join(parser().commands)
    bare = re.compile(rf"(?<![`\w/]){OURS} (?:{names})\b")
    for path in [root / "complaints.toml", root / "preflight" / "rules.toml", root / "preflight" / "watch.toml"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith(("commands", "#")):
                assert not bare.search(re.sub(r"`[^`]*`", "", line)), line
    for path in SOURCE.rglob("*.py"):
        for text in re.findall(r'(?:advice|text)=f?"([^"]*)"', path.read_text(encoding="utf-8")):
            assert not bare.search(re.sub(r"`[^`]*`", "", text)), (path, text)
