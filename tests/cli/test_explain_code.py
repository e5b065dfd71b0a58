"""`flash-doctor explain CODE` over every code that any command can print."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flash_doctor
from flash_doctor.cli.app import COMMANDS
from flash_doctor.cli.explain_code import command, every_code, find_codes
from flash_doctor.errors import BadInput
from flash_doctor.facts import Facts
from flash_doctor.render.console import to_text
from flash_doctor.render.explanations import code_lines
from shipped import validator

if TYPE_CHECKING:
    from flash_doctor.model.explanation import Explanation

GROUPS = every_code()
CODES = [each.code for group in GROUPS.values() for each in group]
SOURCE = Path(flash_doctor.__file__).parent
# a check's X101, a rule's PF-shm or W-nan
CODE = re.compile(r"[A-Z]\d{3}|(?:PF|W)-[a-z0-9]+(?:-[a-z0-9]+)*")


def codes_in(path: Path) -> set[str]:
    """Every text in the source that is written as a code."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if CODE.fullmatch(text)}


def given_codes(path: Path) -> set[str]:
    """What the source passes on as the code of a finding, however it is written."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    given = (node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "code")
    return {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_code_in_the_source_is_explained() -> None:
    written = {code for path in SOURCE.rglob("*.py") for code in codes_in(path) | given_codes(path)}
    assert len(written) > 150
    assert written - set(CODES) == set()


def test_a_code_means_one_thing() -> None:
    assert len({code.upper() for code in CODES}) == len(CODES)


def test_nothing_is_explained_that_is_never_told() -> None:
    """A code stands in a source file that is not the explanation's own, or in the numbers of watch.toml."""
    written = {code for path in SOURCE.rglob("*.py") if path.name != "meanings.py" for code in codes_in(path)} | {
        limit.code for limit in Facts().watch.limits
    }
    assert {each.code for name, group in GROUPS.items() if name != "explain" for each in group} == written


@pytest.mark.parametrize("told", [each for group in GROUPS.values() for each in group], ids=lambda each: each.code)
def test_every_code_explains_itself(told: Explanation) -> None:
    said = to_text(code_lines((told,)), io.StringIO(), width=80)
    assert said.startswith(f"{told.code} (")
    words = " ".join(said.split())
    assert " ".join(told.title.split()) in words
    assert len(words) > len(told.title) + 80, "a title is no explanation"


@pytest.mark.parametrize("told", [each for group in GROUPS.values() for each in group], ids=lambda each: each.code)
def test_a_command_of_ours_that_is_advised_exists(told: Explanation) -> None:
    text = " ".join([told.cause, *(" ".join((each.text, *each.commands)) for each in told.remedies)])
    advised = re.findall(r"flash-doctor ([a-z-]+)", text)
    assert set(advised) <= {*COMMANDS, "installs"}
    assert not re.search(rf"(?<!flash-)doctor ({'|'.join(COMMANDS)})\b", text)


@pytest.mark.parametrize("group", GROUPS)
def test_a_code_is_found_in_any_case_of_letters(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = GROUPS[group][-1].code
    assert command(code.swapcase()) == 0
    assert capsys.readouterr().out.startswith(f"{code} (")


def test_a_family_that_explain_prints_is_known_too(capsys: pytest.CaptureFixture[str]) -> None:
    families = {each.family for each in GROUPS["explain"]}
    assert all(find_codes(family) for family in families)
    assert command("blackwell-no-kernel") == 0
    said = capsys.readouterr().out
    assert [each.code for each in find_codes("blackwell-no-kernel")] == re.findall(
        r"^([\w-]+) \(blackwell-no-kernel\):", said, re.MULTILINE
    )


def test_the_list_has_every_code_below_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(listed=True) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row and not row.startswith(" ")]
    heads = [f"flash-doctor {name}:" for name in GROUPS]
    assert [row for row in rows if row.endswith(":") and row.startswith("flash-doctor ")] == heads
    assert [row.split()[0] for row in rows if row not in heads] == CODES


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (
            "PF-env-placeholder",
            ("Why: axolotl never calls expandvars", "a directory literally called", "envsubst <", "Source: axolotl"),
        ),
        ("W-nan", ("The weights or a batch", "Healthy: finite numbers.", "What to do: stop;", "Source: transformers")),
    ],
)
def test_a_rule_tells_cause_symptom_remedy_and_source(
    code: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(code) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert [part for part in parts if part not in words] == []
    assert command(code, as_json=True) == 0
    (told,) = json.loads(capsys.readouterr().out)["explanations"]
    assert told["family"] == {"PF": "preflight", "W": "watch"}[code.partition("-")[0]]
    assert told["remedies"][0]["text"]
    assert told["sources"]


@pytest.mark.parametrize("listed", [False, True])
def test_the_document_is_valid(listed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(CODES[0], listed=listed, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    validator("explanation").validate(document)
    assert [item["code"] for item in document["explanations"]] == (CODES if listed else CODES[:1])


@pytest.mark.parametrize(
    ("wrong", "near"),
    [(f"{CODES[0]}9", CODES[0]), ("PF-data-sintax", "PF-data-syntax"), ("w-loss-spikes", "W-loss-spike")],
)
def test_an_unknown_code_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(BadInput, match="there is no code") as caught:
        find_codes(wrong)
    assert any(line.startswith(f"{near}: ") for line in caught.value.evidence)


def test_no_code_at_all() -> None:
    with pytest.raises(BadInput, match="is missing"):
        find_codes("")
