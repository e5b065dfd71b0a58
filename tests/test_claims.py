"""Who may open a claim: one function of each format's owner, and nobody who is not named here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src" / "flash_doctor"

# by format: the function that makes what a stranger wrote ours. `codec` and the two that answer a claim again only
# give it another shape.
OWNERS = {
    "system/codec.py": {"decode"},
    "render/document.py": {"accept", "_body"},
    "install/plan_file.py": {"accept", "_shaped"},
    "install/journal.py": {"accept"},
    "install/swap.py": {"accept"},  # RECORD
    "install/rollback.py": {"_accept"},
    "install/staging.py": {"_accept"},
    "install/hashes.py": {"accept"},
    "resolve/index_query.py": {"accept"},  # an index's answer, by uv, pip or a page
    "resolve/sources/page.py": {"_accept"},
    "resolve/sources/uv_index.py": {"_accept"},  # uv's lock
    "resolve/sources/pip_index.py": {"_accept", "_accept_settings"},
    "resolve/sources/matrix.py": {"_accept"},
    "resolve/sources/overlay.py": {"_accept"},
    "resolve/sources/renew.py": {"_accept"},
    "probe/target_script.py": {"_accept"},
    "probe/target.py": {"_accept"},  # pip-api
    "probe/packages.py": {"_accept"},  # direct_url.json
    "probe/indexes.py": {"_accept"},  # uv.toml, pyproject.toml
    "probe/nvml_query.py": {"_accept"},  # NVML's child
    "probe/toolkit.py": {"_accept"},
    "verify/__init__.py": {"_accept"},
    "fleet/gather.py": {"_accept"},
    "fleet/ray.py": {"accept"},
    "fleet/reading.py": {"_accept", "_accept_to_keep"},
    "preflight/deepspeed.py": {"_accept"},
    "preflight/facts_file.py": {"accept"},
    "preflight/gather/data.py": {"_accept"},
    "preflight/gather/model.py": {"_accept"},
    "preflight/gather/rows.py": {"_accept"},
    "watch/records.py": {"_accept"},
    "watch/trainer_files.py": {"_accept"},
}
# text and bytes that are parsed beside `system/bounds.py`, each by the one module that owns the format
PARSERS = {
    "json.loads": {
        "explain/symbols.py",
        "fleet/on_node.py",
        "fleet/ray_driver.py",
        "verify/kernel.py",
    },  # our own words
    "json.load": set(),
    "pickle.loads": set(),
    "marshal.loads": set(),
    "yaml.load": set(),
}


def openings() -> Iterator[tuple[str, str]]:
    """Each function that calls `unproved`, as (module, function)."""
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
                if "unproved" in names:
                    yield str(path.relative_to(SOURCE)), function.name


def test_only_owners_open_a_claim() -> None:
    found: dict[str, set[str]] = {}
    for module, function in openings():
        found.setdefault(module, set()).add(function)
    assert found == OWNERS


def test_what_a_claim_holds_has_no_second_way_out() -> None:
    readers = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "_value"
    }
    assert readers <= {"system/claims.py"} | {name for name in readers if "Claimed" not in (SOURCE / name).read_text()}


@pytest.mark.parametrize("call", PARSERS)
def test_foreign_text_is_parsed_within_bounds(call: str) -> None:
    module, _, name = call.partition(".")
    users = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    }
    assert users == PARSERS[call]


PROGRAM = """\
from flash_doctor.model.plan import Plan
from flash_doctor.system.claims import Claimed
def run(plan: Plan) -> None: ...
def main(claim: Claimed[Plan]) -> None:
    print(claim.origin)
    run(claim)  # wrong: a claim where ours is wanted
    print(claim.steps)  # wrong: its fields
    ours: Plan = claim  # wrong: it is no plan
    other: Claimed[int] = claim  # wrong: another claim
    run(claim.unproved())
"""


def test_the_types_refuse_a_claim_where_ours_is_wanted(tmp_path: Path) -> None:
    """mypy is the judge: each line that is marked as wrong is, and no other."""
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    environment = {"MYPYPATH": str(SOURCE.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)], capture_output=True, text=True, env=environment
    )
    faults = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert faults == {number for number, line in enumerate(PROGRAM.splitlines(), 1) if "# wrong" in line}, done.stdout
