"""`flash-doctor explain CODE` over every check there is."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from flash_doctor.cli.explain_code import command, every_check, find_check
from flash_doctor.errors import BadInput
from schema_of import FILE

CODES = [check.code for check in every_check()]


@pytest.mark.parametrize("code", CODES)
def test_every_check_explains_itself(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(code.lower()) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{code} (")
    words = " ".join(said.split())
    assert " ".join(find_check(code).title.split()) in words


def test_the_list_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(listed=True) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == CODES


@pytest.mark.parametrize("listed", [False, True])
def test_the_document_is_valid(listed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(CODES[0], listed=listed, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(json.loads((FILE.parent / "explanation-1.json").read_text(encoding="utf-8"))).validate(
        document
    )
    assert [item["code"] for item in document["explanations"]] == (CODES if listed else CODES[:1])


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="no check is called") as caught:
        find_check(CODES[0] + "9")
    assert any(line.startswith(f"{CODES[0]}: ") for line in caught.value.evidence)


def test_no_code_at_all() -> None:
    with pytest.raises(BadInput, match="is missing"):
        find_check("")
