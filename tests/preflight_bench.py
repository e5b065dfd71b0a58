"""Making a case run: a folder with config, data and facts, changed as a mutation says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.facts import Facts
from flash_doctor.preflight.collect import Asked, from_facts
from flash_doctor.preflight.document import Malformed, read_document
from flash_doctor.preflight.facts_file import Given
from flash_doctor.preflight.formats import read_run
from flash_doctor.preflight.judge import PreflightJudgement, malformed, preflight

if TYPE_CHECKING:
    from flash_doctor.preflight.inputs import Inputs

CASES = Path(__file__).parent / "preflight_cases"
FACTS = Facts().preflight
SAMPLE = 1000


def scene_of(folder: Path) -> Inputs:
    """The Scene of a folder whose configuration is YAML."""
    document = read_document(config_of(folder))
    assert not isinstance(document, Malformed), document
    said = Given.read(folder / "facts.json")
    return from_facts(read_run(document), said, FACTS, Asked(sample=SAMPLE, current=folder))


def config_of(folder: Path) -> Path:
    return next(path for path in (folder / "config.yaml", folder / "config.yml") if path.exists())


def judge(folder: Path) -> PreflightJudgement:
    document = read_document(config_of(folder))
    return malformed(document, FACTS) if isinstance(document, Malformed) else preflight(scene_of(folder), FACTS)


def codes(judgement: PreflightJudgement) -> list[str]:
    return sorted({finding.code for finding in judgement.findings})


def mutate(base: str, into: Path, change: dict[str, Any]) -> Path:
    """A copy of the case `base` in `into`, changed: see tests/preflight_cases/README.md."""
    folder = into / "case"
    shutil.copytree(CASES / base, folder)
    config = config_of(folder)
    if change.get("set"):
        document = read_document(config)
        assert not isinstance(document, Malformed)
        value = json.loads(json.dumps(document.value))
        for path, new in change["set"].items():
            put(value, path, new)
        config.write_text(json.dumps(value, indent=1))
    if change.get("raw_replace"):
        old, new = change["raw_replace"]
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
    if change.get("facts"):
        facts = json.loads((folder / "facts.json").read_text())
        for path, new in change["facts"].items():
            put(facts, path, new)
        (folder / "facts.json").write_text(json.dumps(facts))
    if change.get("rows") is not None:
        _rows(folder / "data.jsonl", change["rows"])
    return folder


def _rows(file: Path, rows: Any) -> None:
    if rows == "MISSING":
        file.unlink()
    elif isinstance(rows, str):
        file.write_text(rows.removeprefix("RAW:"))
    else:
        file.write_text("".join(_line(row) for row in rows))


def _line(row: Any) -> str:
    return row.removeprefix("RAW:") + "\n" if isinstance(row, str) else json.dumps(row) + "\n"


def put(value: Any, path: str, new: Any) -> None:
    """Set (or with "__del" delete) what lies at a /-separated path; steps that are missing are made."""
    *steps, last = path.split("/")
    for step in steps:
        value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
    key = int(last) if isinstance(value, list) else last
    if new == "__del":
        del value[key]
    else:
        value[key] = new
