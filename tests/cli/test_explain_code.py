"""`flash-doctor explain CODE` over every check and every rule of preflight and watch there is."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from flash_doctor.cli.explain_code import command, every_code, find_code
from flash_doctor.errors import BadInput
from schema_of import FILE

CODES = [each.code for group in every_code().values() for each in group]


@pytest.mark.parametrize("code", CODES)
def test_every_code_explains_itself(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(code.lower()) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{code} (")
    words = " ".join(said.split())
    assert " ".join(find_code(code).title.split()) in words


def test_the_list_has_every_code_below_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(listed=True) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row and not row.startswith(" ")]
    heads = [f"flash-doctor {name}:" for name in ("check", "preflight", "watch")]
    assert [row for row in rows if row.endswith(":") and row.startswith("flash-doctor ")] == heads
    assert [row.split()[0] for row in rows if row not in heads] == CODES


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (
            "PF-env-placeholder",
            ("never calls expandvars", "a directory literally called", "envsubst <", "Source: axolotl"),
        ),
        ("W-nan", ("the weights or a batch", "Healthy: finite numbers.", "What to do: stop;", "Source: transformers")),
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
    Draft202012Validator(json.loads((FILE.parent / "explanation-1.json").read_text(encoding="utf-8"))).validate(
        document
    )
    assert [item["code"] for item in document["explanations"]] == (CODES if listed else CODES[:1])


@pytest.mark.parametrize(
    ("wrong", "near"),
    [(f"{CODES[0]}9", CODES[0]), ("PF-data-sintax", "PF-data-syntax"), ("w-loss-spikes", "W-loss-spike")],
)
def test_an_unknown_code_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(BadInput, match="no check is called") as caught:
        find_code(wrong)
    assert any(line.startswith(f"{near}: ") for line in caught.value.evidence)


def test_no_code_at_all() -> None:
    with pytest.raises(BadInput, match="is missing"):
        find_code("")
