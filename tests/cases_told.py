"""The recorded cases as values, each told by `explain`: with its text alone, and with the GPU of its machine."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.explain import explain
from flash_doctor.facts import Facts
from flash_doctor.model import Capability, Gpus, GpuSource, Unknown
from flash_doctor.system.codec import encode
from patients import H200, report

if TYPE_CHECKING:
    from flash_doctor.model import Report
    from flash_doctor.model.explanation import Explanations

FILE = Path(__file__).parent / "explain" / "complaint_cases.json"
FACTS = Facts()
# GPUs that the cases name -> compute capability
CAPABILITIES = {"B200": (10, 0), "5090": (12, 0), "A800": (8, 0), "RTX 5000": (7, 5), "V100": (7, 0)}


@dataclass(frozen=True)
class Case:
    """A thread's message (`symptom`), what its cause was called (`family`), and the words that tell its key fact."""

    id: str
    family: str
    source: str
    symptom: str
    gpu: str
    key: tuple[str, ...]

    @property
    def thread(self) -> str:
        return self.source.partition(" ")[0]


@dataclass(frozen=True)
class Message:
    """A message from a thread that is none of the cases; `kept` ones are measured and never written from."""

    source: str
    family: str
    symptom: str
    date: str = ""
    kept: bool = False


@cache
def messages() -> tuple[Message, ...]:
    rows = json.loads(FILE.with_name("other_threads.json").read_text(encoding="utf-8"))
    return tuple(Message(**row) for row in rows)


@cache
def cases() -> tuple[Case, ...]:
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(
        Case(
            id=row["id"],
            family=row["family"],
            source=row["source"],
            symptom=row["symptom"],
            gpu=str(row["facts"].get("gpu", "")),
            key=tuple(row["key"]),
        )
        for row in rows
    )


def told(case: Case | Message, facts: Facts = FACTS) -> Explanations:
    return explain(io.BytesIO(case.symptom.encode()), facts)


def told_with_machine(case: Case, facts: Facts = FACTS) -> Explanations:
    return explain(io.BytesIO(case.symptom.encode()), facts, machine(case))


def machine(case: Case) -> Report | None:
    """A report that knows nothing but the case's GPU; None where the case names none that is in the table."""
    for name, (major, minor) in CAPABILITIES.items():
        if re.search(rf"\b{name}\b", case.gpu):
            gpu = replace(H200, name=case.gpu, capability=Capability(major=major, minor=minor))
            gpus = Gpus(devices=(gpu,), source=GpuSource.DESCRIBED, visible_devices=Unknown(unknown=""), on_bus=1)
            blank = Unknown(unknown="not recorded")
            return report(gpus=gpus, torch=blank, flash=blank, driver=blank)
    return None


def first_family(told: Explanations) -> str:
    return told.explanations[0].family if told.explanations else ""


def words(told: Explanations) -> str:
    """Everything that the first explanation says, its consequences included, in small letters."""
    return json.dumps(encode(told.explanations[:1]), ensure_ascii=False).lower()
