"""`flash-doctor stacks` and `check --stack`: what is known, what the index says today, what is installed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.errors import NoPlanFound
from flash_doctor.facts.stacks import find
from flash_doctor.resolve.index_query import IndexFile, IndexQuery, IndexUnreachable
from flash_doctor.resolve.stack_check import check_stack
from seats import facts, wheels
from sites import install, site_of

if TYPE_CHECKING:
    from pathlib import Path

SEED = find(facts().stacks, "seed")


def call(*arguments: str) -> int:
    return run(lambda: main(arguments), arguments)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert call(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_and_a_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    every = shown(capsys, "stacks")["stacks"]
    assert len(every) == len(facts().stacks)
    axolotl = shown(capsys, "stacks", "list", "axolotl")["stacks"]
    assert 0 < len(axolotl) < len(every)
    assert {stack["project"] for stack in axolotl} == {"axolotl"}
    assert any(stack["wrong"] for stack in axolotl)
    assert all(stack["source"] for stack in every)


def test_the_seed_stack_with_what_is_wrong_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    stack = shown(capsys, "stacks", "show", "seed")
    assert {"torch==2.3.1", "flash-attn==2.5.8", "transformers==4.43.3", "numpy==1.26.4"} <= set(stack["requirements"])
    assert any("numpy" in line for line in stack["wrong"])
    call("stacks", "show", "seed")
    text = capsys.readouterr().out
    assert "Next: flash-doctor plan --stack seed" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("stacks", "show"), ("stacks", "show", "nothing"), ("stacks", "--check", "axo")])
def test_a_stack_that_is_not_there(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    assert "stacks" in capsys.readouterr().err


@dataclass
class Index:
    """Answers one question after another from a list."""

    answers: list[tuple[IndexFile, ...] | NoPlanFound]
    asked: list[IndexQuery] = field(default_factory=list)

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, NoPlanFound):
            raise answer
        return answer


def found(name: str) -> IndexFile:
    return IndexFile(name=name, version=Version("1"), url=f"https://e.org/{name}-1.whl", sha256=None, size=None)  # type: ignore[arg-type]


def test_flash_attn_is_judged_by_the_matrix_and_the_rest_by_the_index() -> None:
    index = Index([(found("torch"), found("numpy"))])
    verdict = check_stack(SEED, wheels(), facts(), index)
    assert verdict.consistent is True
    assert not any(line.startswith("flash-attn") for line in index.asked[0].requirements)
    assert index.asked[0].python == "3.10"
    assert any("flash_attn-2.5.8+cu122torch2.3cxx11abiFALSE-cp310" in line for line in verdict.why)


def test_what_exists_as_source_only_is_left_out_and_named() -> None:
    source = NoPlanFound("none", evidence=["hint: Wheels are required for `peft` because building is disabled"])
    index = Index([source, (found("torch"),)])
    verdict = check_stack(SEED, wheels(), facts(), index)
    assert verdict.consistent is True
    assert verdict.not_judged == ("peft==0.11.1",)
    assert "peft==0.11.1" not in index.asked[1].requirements


def test_what_excludes_each_other_is_not_consistent() -> None:
    verdict = check_stack(SEED, wheels(), facts(), Index([NoPlanFound("none", evidence=["numpy and trl exclude"])]))
    assert verdict.consistent is False
    assert "numpy and trl exclude" in verdict.why


def test_an_index_that_does_not_answer_leaves_it_open() -> None:
    verdict = check_stack(SEED, wheels(), facts(), Index([IndexUnreachable(evidence=["no route"])]))
    assert verdict.consistent is None
    assert "no route" in verdict.why


@pytest.mark.index
def test_the_index_says_it_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("stacks", "--check", "seed", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["today"]["consistent"] is True
    assert "numpy==1.26.4" in document["today"]["versions"]
    assert call("stacks", "--check", "axolotl-0.4.0-torch2.1.1-cu121") == 1
    assert "xformers" in capsys.readouterr().out


def test_what_is_installed_is_compared_with_a_stack(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = site_of(venv)
    install(site, "numpy", "1.26.4")
    install(site, "transformers", "4.50.0")
    call("check", "--python", str(venv), "--stack", "seed", "--json")
    findings = json.loads(capsys.readouterr().out)["findings"]
    (differs,) = [one for one in findings if one["code"] == "C712"]
    assert "transformers==4.43.3: 4.50.0 is installed" in differs["evidence"]
    assert not any(line.startswith("numpy") for line in differs["evidence"])
    assert call("check", "--python", str(venv), "--stack", "nothing") == 2
