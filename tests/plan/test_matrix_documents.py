"""The documents of `stacks`, `matrix` and `lint-setup` against their schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.facts.stacks import find
from flash_doctor.model.wheel import Renewal, StackVerdict
from flash_doctor.render.matrix import renewal_document
from flash_doctor.render.stacks import stack_document
from seats import facts
from shipped import schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def assert_fits(name: str, document: Mapping[str, Any]) -> None:
    """Valid, and with no key that the schema does not name."""
    jsonschema.validate(document, schema(name))
    assert document.keys() == schema(name)["properties"].keys()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    run(lambda: main([*arguments, "--json"]), arguments)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("stacks", ("stacks",)),
        ("stack", ("stacks", "show", "seed")),
        ("wheels", ("matrix", "show", "astral")),
        ("wheels", ("matrix", "show", "cu12torch2.8cxx11abiTRUE-cp312")),
        ("coverage", ("matrix", "coverage", "--torch", "2.8")),
        ("lint", ("matrix", "lint")),
    ],
)
def test_what_the_command_prints_fits(
    name: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], venv: Path
) -> None:
    more = ("--python", str(venv)) if "coverage" in arguments else ()
    document = printed(capsys, *arguments, *more)
    assert_fits(name, document)
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            assert value[0].keys() == schema(name)["properties"][key]["items"]["properties"].keys()


@pytest.mark.parametrize("consistent", [True, False, None])
def test_a_stack_that_was_asked_about_fits(consistent: bool | None) -> None:
    verdict = StackVerdict(consistent=consistent, why=("the index says so",), versions=("numpy==1.26.4",))
    document = json.loads(json.dumps(stack_document(find(facts().stacks, "seed"), verdict, 0)))
    assert_fits("stack", document)
    assert document["today"]["versions"] == ["numpy==1.26.4"]


def test_a_refresh_fits_with_and_without_a_fault() -> None:
    renewals = (Renewal(publisher="a", added=("x.whl",)), Renewal(publisher="b", fault="no route"))
    document = json.loads(json.dumps(renewal_document(renewals, "/somewhere", 6)))
    assert_fits("refresh", document)
    assert [one["fault"] for one in document["publishers"]] == [None, "no route"]


def test_the_numbering_rule_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("0_a.sh", "2_b.sh"):
        (tmp_path / name).touch()
    (tmp_path / "README.md").write_text("0_a.sh, 2_b.sh")
    sick = printed(capsys, "lint-setup", str(tmp_path))
    assert_fits("lint-setup", sick)
    assert [finding["code"] for finding in sick["findings"]] == ["S102"]
    (tmp_path / "1_c.sh").touch()
    (tmp_path / "README.md").write_text("0_a.sh, 1_c.sh, 2_b.sh")
    assert_fits("lint-setup", printed(capsys, "lint-setup", str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("stack", {"check": "perhaps"}),
        ("stack", {"today": {"consistent": "yes", "why": []}}),
        ("stack", {"exit_code": 7}),
        ("stack", {"schema": "flash-doctor/stack/2"}),
    ],
)
def test_another_value_does_not_fit(name: str, spoil: dict[str, object]) -> None:
    document = stack_document(find(facts().stacks, "seed"), None, 0)
    jsonschema.validate(document, schema(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, **spoil}, schema(name))
