"""The README against the program: transcripts are real output, tables are the code's own, our scripts keep the rule."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor import __version__
from flash_doctor.cli import COMMANDS
from flash_doctor.setup_rule import lint_setup
from transcripts import commands, output_of, room, tables_refreshed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with room() as folder:
        yield folder


@pytest.mark.parametrize("command", commands(README))
def test_a_transcript_is_what_the_command_prints(command: str, folder: Path) -> None:
    assert output_of(command, folder) in README, "scripts/dev/readme.py brings it up to date"


def test_the_generated_tables_are_the_codes_own() -> None:
    assert tables_refreshed(README) == README, "scripts/dev/readme.py brings it up to date"


def test_every_verb_has_a_transcript_or_says_why_not() -> None:
    shown = {command.split()[0] for command in commands(README)}
    excused = set(re.findall(r"<!-- no transcript: ([\w-]+)", README))
    assert shown | excused == set(COMMANDS)
    assert not shown & excused


def test_every_command_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `([\w-]+)", README, re.MULTILINE)) == set(COMMANDS)


def test_our_own_scripts_keep_the_numbering_rule() -> None:
    assert lint_setup(ROOT / "scripts") == ()


def test_the_version_is_said_once() -> None:
    assert metadata.version("flash-doctor") == __version__
