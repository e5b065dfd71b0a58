"""Every case of tests/preflight_cases: exactly the expected findings, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flash_doctor.model import Severity
from preflight_bench import CASES, codes, judge, mutate

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = sorted(path.parent.name for path in CASES.glob("*/expected.json"))
MUTATIONS = [
    (source.name, index, change)
    for source in sorted(CASES.glob("mutations*.json"))
    for index, change in enumerate(json.loads(source.read_text()))
]


@pytest.mark.parametrize("name", FOLDERS)
def test_case(name: str) -> None:
    expected = json.loads((CASES / name / "expected.json").read_text())
    judgement = judge(CASES / name)
    found = sorted((finding.code, finding.severity.value) for finding in judgement.findings)
    assert found == sorted((each["id"], each["severity"]) for each in expected["findings"])
    broken = any(finding.severity is Severity.ERROR for finding in judgement.findings)
    assert int(broken) == expected["exit_code"]


@pytest.mark.parametrize(("source", "index", "change"), MUTATIONS, ids=lambda value: str(value)[:60])
def test_mutation(source: str, index: int, change: dict[str, Any], tmp_path: Path) -> None:
    judgement = judge(mutate(change["base"], tmp_path, change))
    assert codes(judgement) == sorted(change["expect"]), [finding.summary for finding in judgement.findings]
