"""What a consultation makes of an index that answers, refuses or is silent, and of a folder of wheels."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor.cli.app import main
from flash_doctor.cli.errors import run
from flash_doctor.errors import NoPlanFound
from flash_doctor.install.plan_command import PlannedMachine, Request, consult
from flash_doctor.model import Goal
from flash_doctor.model.plan import Install, NoPlan, Plan
from flash_doctor.resolve.index_query import IndexFile, IndexQuery, IndexUnreachable
from seats import described, facts

if TYPE_CHECKING:
    from flash_doctor.model.plan import Consultation

MACHINE = {"gpu": "H100", "torch": "2.8.0+cu128", "python_version": "3.12", "glibc": "2.39", "machine": "x86_64"}


@dataclass
class Index:
    outcome: tuple[IndexFile, ...] | NoPlanFound

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        assert question.requirements == ("einops",)
        if isinstance(self.outcome, NoPlanFound):
            raise self.outcome
        return self.outcome


def consulted(outcome: tuple[IndexFile, ...] | NoPlanFound | None, *, offline: bool = False) -> Consultation:
    lookup = Index(outcome) if outcome is not None else None
    request = Request(
        goal=Goal(),
        command=("flash-doctor", "plan"),
        overlay=Path("/nowhere"),
        offline=offline,
        lookup=lambda: lookup,
    )
    scene = PlannedMachine(environment=described(MACHINE), machine="a test", families={})
    return consult(request, scene, facts())


EINOPS = IndexFile(name="einops", version="0.8.1", url="https://e.org/einops.whl", sha256="ab" * 32, size=9)  # type: ignore[arg-type]


def test_an_answer_settles_the_open_steps() -> None:
    consultation = consulted((EINOPS,))
    assert isinstance(consultation.answer, Plan)
    steps = [step for step in consultation.answer.steps if isinstance(step, Install)]
    assert all(step.settled for step in steps)
    assert not consultation.notes


def test_a_refusal_is_no_plan_with_what_the_index_said() -> None:
    consultation = consulted(NoPlanFound("none", evidence=["einops is yanked"]))
    assert isinstance(consultation.answer, NoPlan)
    assert "einops is yanked" in consultation.answer.because


@pytest.mark.parametrize("outcome", [IndexUnreachable(evidence=["no route to host"]), None])
def test_silence_leaves_the_plan_and_says_what_is_open(outcome: NoPlanFound | None) -> None:
    consultation = consulted(outcome)
    assert isinstance(consultation.answer, Plan)
    assert "einops" in consultation.notes[0]
    assert "still open" in consultation.notes[0]


def test_offline_asks_nobody() -> None:
    consultation = consulted(NoPlanFound("must not be asked"), offline=True)
    assert isinstance(consultation.answer, Plan)
    assert "--offline" in consultation.notes[0]


def wheel(folder: Path, name: str, dist: str, version: str) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{dist}-{version}.dist-info/METADATA", f"Name: {dist}\nVersion: {version}\n")
    return path


def test_a_wheelhouse_gives_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = wheel(
        tmp_path, "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", "flash_attn", "2.8.3"
    )
    wheel(tmp_path, "einops-0.8.0-py3-none-any.whl", "einops", "0.8.0")
    words = [word for name, value in MACHINE.items() for word in (f"--{name.replace('_', '-')}", value)]
    arguments = ["plan", "--offline", "--json", "--wheelhouse", str(tmp_path), *words]
    assert run(lambda: main(arguments), arguments) == 0
    flash, einops = json.loads(capsys.readouterr().out)["steps"]
    assert flash["url"] == own.as_uri()
    assert flash["hash_state"] == einops["hash_state"] == "pinned"
    assert einops["url"].endswith("einops-0.8.0-py3-none-any.whl")
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ["plan", "--offline", "--json", "--wheelhouse", str(empty), *words]
    assert run(lambda: main(arguments), arguments) == 3


def test_a_bare_machine_is_told_how_to_begin() -> None:
    environment = described({**MACHINE, "torch": "none"})
    request = Request(goal=Goal(), command=("flash-doctor", "plan"), overlay=Path("/nowhere"), offline=True)
    scene = PlannedMachine(environment=environment, machine="a test", families={})
    answer = consult(request, scene, facts()).answer
    assert isinstance(answer, NoPlan)
    assert answer.command == "flash-doctor plan --want torch --want flash-attn"
    wanted = replace(request, goal=Goal(wanted=("torch", "flash-attn")))
    assert isinstance(consult(wanted, scene, facts()).answer, Plan)
