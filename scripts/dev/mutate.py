"""Do the tests notice? One small change at a time in the rooms where a fault costs most, and the tests beside it.

    .venv/bin/python scripts/dev/mutate.py                          300 changes, drawn by the seed from all targets
    .venv/bin/python scripts/dev/mutate.py --count 40 install/swap.py
    .venv/bin/python scripts/dev/mutate.py --only install/swap.py:120:8+14:not    that one again, with what pytest says

Each change is made in a copy of the checkout; the tests are those named beside the target in TARGETS. A change that no
test notices is printed with its line, and is either a missing test or listed in EQUIVALENT with the reason.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path("src/flash_doctor")
SEED = "2026-12-01"
LIMIT = 300  # seconds for one run of the tests; a change that makes them hang is noticed

# module -> the tests that are to notice
TARGETS: dict[str, tuple[str, ...]] = {
    "abi/linker.py": ("tests/abi/test_linker.py", "tests/abi/test_linker_import.py", "tests/abi/test_ldcache.py"),
    "install/swap.py": ("tests/install/test_swap.py",),
    "install/journal.py": ("tests/install/test_journal.py", "tests/install/test_journal_trust.py"),
    "resolve/rank.py": ("tests/resolve/test_cases.py", "tests/resolve/test_why.py"),
    "resolve/axes.py": ("tests/resolve/test_cases.py", "tests/resolve/test_against_oracle.py"),
    "diagnose/driver.py": ("tests/diagnose/test_registry.py", "tests/diagnose/test_rules_machine.py"),
    "preflight/memory.py": (
        "tests/preflight/test_preflight_numbers.py",
        "tests/preflight/test_preflight_published.py",
        "tests/preflight/test_preflight_cases.py",
    ),
    "rules/score.py": ("tests/diagnose/test_score.py",),
    "rules/explains.py": ("tests/rules/test_explains.py",),
}
# a change that nobody can notice -> why
EQUIVALENT: dict[str, str] = {}

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_SEVERITIES = {"ERROR": "WARNING", "WARNING": "ERROR", "INFO": "ERROR"}


@dataclass(frozen=True)
class Change:
    """One change: where it is made (bytes of the module), what stands there instead, and of which kind it is."""

    module: str
    line: int
    column: int
    kind: str
    begin: int
    end: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}:{self.column}+{self.end - self.begin}:{self.kind}"

    def made_in(self, source: bytes) -> bytes:
        return source[: self.begin] + self.text.encode() + source[self.end :]


def changes(module: str) -> Iterator[Change]:
    """Every change that can be made in a module."""
    source = (ROOT / SOURCE / module).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    silent = set(_silent(tree))
    for node in ast.walk(tree):
        if node in silent or not isinstance(node, (ast.expr, ast.stmt)) or node.end_lineno is None:
            continue
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + (node.end_col_offset or 0)
        for kind, text in mutations(node):
            yield Change(module, node.lineno, node.col_offset, kind, begin, end, text)


def _silent(tree: ast.Module) -> Iterator[ast.AST]:
    """What is no behaviour: annotations, and what stands under TYPE_CHECKING."""
    for node in ast.walk(tree):
        inner: list[ast.AST | None] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [node.returns]
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            inner = [node.annotation]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            inner = [node]
        for each in filter(None, inner):
            yield from ast.walk(each)


def mutations(node: ast.expr | ast.stmt) -> Iterator[tuple[str, str]]:
    """The kind of each change to this node, and the text that takes its place."""
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.BinOp():
            yield from _operators(node)
        case ast.IfExp(test=_, body=body, orelse=orelse):
            yield "always", _text(body)
            yield "never", _text(orelse)
        case ast.Constant(value=bool(value)):
            yield "bool", str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "number", repr(value + 1)
        case ast.Attribute(value=ast.Name(id="Severity"), attr=severity) if severity in _SEVERITIES:
            yield "severity", f"Severity.{_SEVERITIES[severity]}"
        case ast.stmt():
            yield from _statements(node)


def _operators(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARISONS:
            yield "compare", _text(ast.Compare(left, [_COMPARISONS[type(operator)]()], [right]))
        case ast.BoolOp(op=operator, values=values):
            yield "and-or", _text(ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", _text(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            yield "operator", _text(ast.BinOp(left, _OPERATORS[type(operator)](), right))


def _statements(node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "return", "return None"
        case ast.Expr(value=ast.Call()):
            yield "call", "pass"
        case ast.If():
            yield from _branches(node)


def _branches(node: ast.If) -> Iterator[tuple[str, str]]:
    indent = " " * node.col_offset
    for kind, verdict in (("if-true", "True"), ("if-false", "False")):
        changed = ast.If(ast.Constant(verdict == "True"), node.body, node.orelse)
        yield kind, ast.unparse(ast.fix_missing_locations(changed)).replace("\n", f"\n{indent}")


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def noticed(change: Change, checkout: Path, *, shown: bool = False) -> bool:
    """Whether a test fails, or never ends, in this copy of the checkout with the change made in it."""
    path = checkout / SOURCE / change.module
    before = path.read_bytes()
    path.write_bytes(change.made_in(before))
    try:
        return not passes(change.module, checkout, shown=shown)
    finally:
        path.write_bytes(before)


def passes(module: str, checkout: Path, *, shown: bool = False) -> bool:
    tests = [*TARGETS[module], "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:randomly"]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    output = None if shown else subprocess.DEVNULL
    command = [sys.executable, "-m", "pytest", *tests]
    try:
        code = subprocess.run(
            command, cwd=checkout, env=environment, stdout=output, stderr=output, timeout=LIMIT, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return False
    return code == 0


def copied(to: Path) -> Path:
    """What git knows of this checkout, and what lies beside it uncommitted, without the ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def drawn(modules: list[str], count: int, seed: str) -> list[Change]:
    """A sample in which each module has its share of the changes that can be made."""
    every = [change for module in modules for change in changes(module) if change.name not in EQUIVALENT]
    return sorted(random.Random(seed).sample(every, min(count, len(every))), key=lambda change: change.name)


def run(options: argparse.Namespace, folder: Path) -> int:
    modules = options.module or list(TARGETS)
    copies: Queue[Path] = Queue()
    for job in range(options.jobs):
        copies.put(copied(folder / str(job)))
    first = copies.get()
    for module in modules:
        if not passes(module, first):
            sys.exit(f"the tests of {module} fail without any change")
    copies.put(first)

    def tried(change: Change) -> tuple[Change, bool]:
        checkout = copies.get()
        try:
            return change, noticed(change, checkout)
        finally:
            copies.put(checkout)

    survivors, done = [], 0
    sample = drawn(modules, options.count, options.seed)
    with ThreadPoolExecutor(options.jobs) as pool:
        for change, seen in pool.map(tried, sample):
            done += 1
            if not seen:
                survivors.append(change)
                print(f"survives: {change.name}  {change.text.splitlines()[0][:90]}", flush=True)
    killed = len(sample) - len(survivors)
    print(f"{killed} of {len(sample)} noticed ({100 * killed / max(1, len(sample)):.0f} %)")
    if options.record:
        record(options, sample, survivors)
    return 0 if killed >= options.least / 100 * len(sample) else 1


def record(options: argparse.Namespace, sample: list[Change], survivors: list[Change]) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    by_module = {
        module: {
            "tried": sum(change.module == module for change in sample),
            "survived": [change.name for change in survivors if change.module == module],
        }
        for module in dict.fromkeys(change.module for change in sample)
    }
    document = {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "seed": options.seed,
        "tried": len(sample),
        "noticed": len(sample) - len(survivors),
        "modules": by_module,
    }
    options.record.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("module", nargs="*", help="a target (default: all of them)")
    made.add_argument("--count", type=int, default=300, help="changes to try")
    made.add_argument("--seed", default=SEED, help="any word; it draws the sample")
    made.add_argument("--jobs", type=int, default=1, help="changes tried at the same time")
    made.add_argument("--least", type=float, default=85, help="per cent that must be noticed, or the exit code is 1")
    made.add_argument("--record", type=Path, help="write what came of it to this file")
    made.add_argument("--only", help="the name of one change, as it was printed")
    return made


def main() -> int:
    options = parser().parse_args()
    if unknown := [module for module in options.module if module not in TARGETS]:
        parser().error(f"{unknown[0]} is no target; they are {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory() as folder:
        if not options.only:
            return run(options, Path(folder))
        module = options.only.partition(":")[0]
        change = next((change for change in changes(module) if change.name == options.only), None)
        if change is None:
            parser().error(f"no change is called {options.only}")
        return 0 if noticed(change, copied(Path(folder)), shown=True) else 1


if __name__ == "__main__":
    sys.exit(main())
