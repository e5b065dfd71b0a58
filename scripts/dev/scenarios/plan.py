"""`doctor plan` for a described machine and for this one; the resolver alone at 1, 10 and 100 times some rows."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import Contestant

TITLE = "plan: one of 7,800 wheels, or the nearest other way; then the resolver alone at 1x, 10x, 100x"
MACHINE = "--gpu H100x8 --driver 570.86 --python-version 3.12 --glibc 2.35 --machine x86_64".split()  # noqa: SIM905 as typed

# resolving alone, in one process: 1x is every tenth family of the matrix, so that 10x is as large as the matrix is;
# the rows are copies under other releases. Processor time, with the copies out of the garbage collector's sight
GROWTH = """
import gc, sys
from dataclasses import replace
from flash_doctor.facts import Facts
from flash_doctor.model import Goal
from flash_doctor.resolve import Wheels, describe, load_wheels, resolve
import time, statistics
facts = Facts()
start = time.perf_counter()
base = load_wheels(facts.folder / "wheels", publishers=facts.publishers)
loading = time.perf_counter() - start
environment = describe(facts, gpu="H100x8", driver="570.86", torch="2.8.0+cu128", python_version="3.12", glibc="2.35",
                       machine="x86_64")
resolve(Goal(), environment, base, facts)
times = int(sys.argv[1])
copies = []
for number in range(times):
    for family, members in base.groups[::10]:
        copy = replace(family, release=f"{family.release}-{number}")
        copies.append((copy, tuple(replace(wheel, family=copy) for wheel in members)))
wheels = Wheels(groups=tuple(copies))
spent = []
gc.freeze()
for _ in range(5 if times < 100 else 3):
    fresh = Wheels(groups=wheels.groups)
    start = time.process_time()
    resolve(Goal(), environment, fresh, facts)
    spent.append(time.process_time() - start)
print(f"{times}x: {len(wheels)} wheels, loading all of the matrix once {loading * 1e3:.0f} ms, "
      f"resolving {statistics.median(spent) * 1e3:.1f} ms, {statistics.median(spent) / len(wheels) * 1e6:.2f} us each",
      file=sys.stderr)
"""


def contestants(work: Path) -> list[Contestant]:
    work.mkdir(parents=True, exist_ok=True)
    script = work / "growth.py"
    script.write_text(GROWTH)
    ours = str(Path(sys.executable).with_name("flash-doctor"))
    own = {"FLASH_DOCTOR_DATA": str(work / "data")}
    described = [ours, "plan", "--json", "--offline", *MACHINE]
    return [
        Contestant(
            "flash-doctor plan (a wheel fits)", [*described, "--torch", "2.8.0+cu128"], "at most 0.35 s", (0,), own
        ),
        Contestant(
            "flash-doctor plan (none fits)", [*described, "--torch", "2.15.0+cu126"], "at most 0.35 s", (3,), own
        ),
        Contestant(
            "flash-doctor plan (this machine)",
            [ours, "plan", "--offline", "--python", sys.prefix],
            "at most 0.35 s",
            (0, 3),
            own,
        ),
        *(
            Contestant(f"resolve in-process, {times}x (one process)", [sys.executable, str(script), str(times)])
            for times in (1, 10, 100)
        ),
    ]
