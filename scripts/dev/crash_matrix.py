"""Tries a fix killed, and refused with ENOSPC, EACCES and EXDEV, at every change of the target, and writes the record.

    .venv/bin/python scripts/dev/crash_matrix.py [--minutes 10] [--files 12] [--workers 2]

Each try kills the doctor or its child (uv, pip) at the N-th changing system call below the target's prefix, kills the
recovery once at a call of its own, recovers, and compares the whole prefix: as before, or complete and verified.
The record goes to tests/live/evidence/crash_matrix-<date>.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutations import MODES, Matrix  # noqa: E402 after the path to it


class Part(TypedDict):
    """What one worker tried, by mode, and what failed."""

    calls: int
    recovery_calls: int
    tried: dict[str, int]
    failed: list[dict[str, object]]


def work(installer: str, files: int, modes: list[str], share: int, workers: int, until: float) -> Part:
    """One worker's share of the tries, in random order so that a time limit leaves an even sample."""
    with tempfile.TemporaryDirectory(prefix="crash-matrix-") as folder:
        matrix = Matrix.prepare(Path(folder), installer, files)
        tries = [(mode, number) for mode in modes for number in range(1, matrix.calls + 1)]
        random.Random(0).shuffle(tries)
        killed_first = sorted(tries, key=lambda one: one[0] != "killed")
        mine = killed_first[share::workers]
        tried: dict[str, int] = dict.fromkeys(MODES, 0)
        failed: list[dict[str, object]] = []
        for mode, number in mine:
            if time.time() > until:
                break
            tried[mode] += 1
            if fault := matrix.try_at(number, mode):
                failed.append({"mode": mode, "call": number, "fault": fault})
        return {"calls": matrix.calls, "recovery_calls": matrix.recovering, "tried": tried, "failed": failed}


def summary(installer: str, files: int, parts: list[Part]) -> dict[str, object]:
    tried = {mode: sum(part["tried"][mode] for part in parts) for mode in MODES}
    return {
        "installer": installer,
        "modules_per_version": files,
        "calls_of_a_fix": parts[0]["calls"],
        "calls_of_a_recovery": parts[0]["recovery_calls"],
        "tried": tried,
        "tried_in_all": sum(tried.values()),
        "failed": [fault for part in parts for fault in part["failed"]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--installers", default="uv,pip")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--append", action="store_true", help="add to the record of today")
    options = parser.parse_args()
    installers = options.installers.split(",")
    records = []
    for installer in installers:
        until = time.time() + options.minutes * 60 / len(installers)
        shares = range(options.workers)
        with ProcessPoolExecutor(options.workers) as pool:
            common = (installer, options.files, options.modes.split(","))
            waiting = [pool.submit(work, *common, share, options.workers, until) for share in shares]
            records.append(summary(installer, options.files, [one.result() for one in waiting]))
        print(json.dumps(records[-1]), flush=True)
    today = datetime.date.today().isoformat()
    record = {"date": today, "machine": f"{platform.system()} {platform.release()}, Python {platform.python_version()}"}
    path = ROOT / "tests" / "live" / "evidence" / f"crash_matrix-{today}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.append and path.exists():
        records = [*json.loads(path.read_text())["runs"], *records]
    path.write_text(json.dumps({**record, "runs": records}, indent=1) + "\n", encoding="utf-8")
    print(path)
    return 1 if any(one["failed"] for one in records) else 0


if __name__ == "__main__":
    sys.exit(main())
