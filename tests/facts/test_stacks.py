"""Known stacks: the shipped ones, how one is found, and files that are wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadFacts, BadInput
from flash_doctor.facts import Facts, stacks

if TYPE_CHECKING:
    from pathlib import Path

ROW = """
[sources]
s1 = { what = "a file", read = 2026-11-20 }

[[stack]]
name = "one"
python = "3.10"
kind = "exact"
requirements = ["torch==2.3.1", "trl>=0.7,<0.8"]
check = "consistent"
source = "s1"
"""


def test_every_shipped_stack_parses() -> None:
    from packaging.requirements import Requirement

    shipped = Facts().stacks
    assert len(shipped) == 138
    assert {stack.project for stack in shipped.values()} >= {"seed", "axolotl", "unsloth", "verl", "llama-factory"}
    for stack in shipped.values():
        names = [Requirement(line).name for line in stack.requirements]
        assert len(names) == len(set(names)), stack.name
        assert stack.source.what


def test_the_seed_stack_says_what_is_wrong_in_it() -> None:
    seed = Facts().stacks["seed"]
    assert (seed.python, seed.cuda) == ("3.10", "cu121")
    for line in ("torch==2.3.1", "flash-attn==2.5.8", "transformers==4.43.3", "numpy==1.26.4", "trl==0.9.6"):
        assert line in seed.requirements
    told = " ".join(seed.wrong)
    assert "Python 3.12 has no 2.5.8 wheel" in told
    assert "numpy >=2" in told.replace("numpy>=2", "numpy >=2")


def test_axolotl_stacks_that_exclude_themselves_are_marked() -> None:
    broken = [stack for stack in Facts().stacks.values() if stack.check == "inconsistent"]
    assert len(broken) == 2
    assert all("xformers==0.0.22 depends on torch==2.0.1" in " ".join(stack.wrong) for stack in broken)


def test_a_requirement_is_found_by_its_name() -> None:
    seed = Facts().stacks["seed"]
    assert seed.requirement("flash_attn") == "flash-attn==2.5.8"
    assert seed.requirement("vllm") is None


def test_a_stack_is_found_by_the_beginning_of_its_name() -> None:
    shipped = Facts().stacks
    assert stacks.find(shipped, "se").name == "seed"
    with pytest.raises(BadInput, match="no stack 'nowhere'"):
        stacks.find(shipped, "nowhere")
    with pytest.raises(BadInput, match="stacks are called axolotl"):
        stacks.find(shipped, "axolotl")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"torch==2.3.1"', '"torch is 2"', "stack.1: requirements: 'torch is 2' is no requirement"),
        ('check = "consistent"', 'check = "fine"', "stack.1: check: must be one of"),
        ('name = "one"\n', "", "stack.1: name: is missing"),
        ('source = "s1"\n', 'source = "s9"\n', "stack.1: source"),
        ('kind = "exact"\n', 'kind = "exact"\ncolour = "red"\n', "stack.1: colour"),
    ],
)
def test_a_fault_names_file_row_and_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(ROW.replace(old, new))
    with pytest.raises(BadFacts, match=re.escape(told)) as caught:
        stacks.load(tmp_path)
    assert "mine.toml" in str(caught.value)


def test_a_name_stands_for_one_stack(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(ROW)
    (tmp_path / "b.toml").write_text(ROW)
    with pytest.raises(BadFacts, match="one is listed twice"):
        stacks.load(tmp_path)
