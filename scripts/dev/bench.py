"""Measures flash-doctor against its peers: whole processes, in turn (A B C A B C ...), told as ratios of medians.

    .venv/bin/python scripts/dev/bench.py              every scenario
    .venv/bin/python scripts/dev/bench.py check abi    some of them

A scenario is a file in scripts/dev/scenarios/ with `TITLE` and `contestants(work: Path) -> list[Contestant]`;
the first contestant is ours. The table is Markdown, fit for the README, with the machine and the date.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@dataclass(frozen=True)
class Contestant:
    """One command and what the promise is: ours at most `limit` seconds, or at least `ratio` times faster than it."""

    name: str
    argv: list[str]
    promise: str = ""
    codes: tuple[int, ...] = (0,)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    seconds: float
    megabytes: float


def run_once(contestant: Contestant) -> Run:
    """One whole process by the system's own accounting: wall time and peak resident memory."""
    with tempfile.TemporaryFile() as sink:
        start = time.perf_counter()
        # a source tree without its compiled files would be compiled at every start: nobody's daily life
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        process = subprocess.Popen(
            contestant.argv, stdout=sink, stderr=subprocess.STDOUT, env={**environment, **contestant.environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code not in contestant.codes:
            sink.seek(0)
            sys.exit(f"{contestant.name} ended with {code}:\n{sink.read()[-2000:].decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss / 1024)


def measure(contestants: list[Contestant], runs: int) -> dict[str, list[Run]]:
    """`runs` runs of each after one warm-up, in turn, so that a drift of the machine meets all alike."""
    for contestant in contestants:
        run_once(contestant)
    results: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for _ in range(runs):
        for contestant in contestants:
            results[contestant.name].append(run_once(contestant))
    return results


def table(contestants: list[Contestant], results: dict[str, list[Run]]) -> str:
    ours = statistics.median(run.seconds for run in results[contestants[0].name])
    lines = ["| command | median s | min–max s | peak MB | times ours | promised |", "|---|---|---|---|---|---|"]
    for contestant in contestants:
        runs = results[contestant.name]
        seconds = sorted(run.seconds for run in runs)
        median = statistics.median(seconds)
        memory = statistics.median(run.megabytes for run in runs)
        lines.append(
            f"| {contestant.name} | {median:.3f} | {seconds[0]:.3f}–{seconds[-1]:.3f} | {memory:.0f} "
            f"| {median / ours:.1f} | {contestant.promise} |"
        )
    return "\n".join(lines)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Python {platform.python_version()}"


def main() -> None:
    known = sorted(path.stem for path in (HERE / "scenarios").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(known)}")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "flash-doctor-bench")
    options = parser.parse_args()
    print(f"{datetime.date.today().isoformat()}, {machine()}\n")
    for name in options.scenarios or known:
        if name not in known:
            parser.error(f"there is no scenario {name}; known: {', '.join(known)}")
        scenario = importlib.import_module(f"scenarios.{name}")
        contestants = scenario.contestants(options.work)
        print(f"**{scenario.TITLE}**\n\n{table(contestants, measure(contestants, options.runs))}\n", flush=True)


if __name__ == "__main__":
    main()
