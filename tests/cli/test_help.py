"""The help of every command, read at 80 columns."""

from __future__ import annotations

import re

import pytest

from flash_doctor.cli.app import COMMANDS, SUMMARIES, main

GROUPS = {"matrix": ("show", "lint", "coverage", "refresh"), "fleet": ("check", "compare")}
PAGES = [(), *((name,) for name in COMMANDS), *((name, verb) for name, verbs in GROUPS.items() for verb in verbs)]
# words of this house that nobody outside of it knows
JARGON = re.compile(r"\b(target|overlay|patient|seat|staging|sheet)\b", re.IGNORECASE)


@pytest.fixture(params=PAGES, ids=" ".join)
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*request.param, "--help"]) == 0
    return capsys.readouterr().out


def test_it_fits_and_no_sentence_is_cut_off(page: str) -> None:
    assert max(map(len, page.splitlines())) <= 80
    _, _, commands = page.partition("\nCommands:\n")
    assert [line for line in commands.splitlines() if line.endswith("...")] == []


def test_it_speaks_plainly(page: str) -> None:
    assert JARGON.findall(page) == []


def test_every_option_says_what_it_does(page: str) -> None:
    _, _, options = page.partition("\nOptions:\n")
    rows = re.findall(r"^  (-[^\n]+(?:\n {10,}\S[^\n]*)*)", options, re.MULTILINE)
    assert rows
    assert [row for row in rows if not re.search(r"\s{2,}[A-Z]|\s{2,}\S+: ", row)] == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in GROUPS])
def test_every_command_but_run_speaks_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    assert ("--json" in capsys.readouterr().out) is (name != "run")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert SUMMARIES[name] in text


def test_every_command_is_listed() -> None:
    assert list(SUMMARIES) == list(COMMANDS)
