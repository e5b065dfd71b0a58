"""Ten thousand nodes: within seconds, within memory, on less than a screen and a half."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from reports import many

if TYPE_CHECKING:
    from pathlib import Path

from flash_doctor.facts import Facts
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.reading import read_document

SCRIPT = """
import json, resource, sys, time
from flash_doctor.facts import Facts
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.sources import read_all
start = time.process_time()
found = compare(read_all(["-"], sys.stdin.buffer), Facts().fleet)
seconds = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([len(found.names), len(found.differences), seconds, peak]))
"""


def test_ten_thousand_reports_take_less_than_three_seconds_and_500_megabytes(tmp_path: Path) -> None:
    file = tmp_path / "fleet.jsonl"
    with file.open("w") as stream:
        stream.writelines(f"{line}\n" for line in many(10_000))
    with file.open() as stream:
        done = subprocess.run([sys.executable, "-c", SCRIPT], stdin=stream, capture_output=True, text=True, check=True)
    nodes, differences, seconds, megabytes = json.loads(done.stdout)
    assert (nodes, differences) == (10_000, 3)
    assert seconds < 3
    assert megabytes < 500


def test_four_times_the_nodes_take_about_four_times_as_long() -> None:
    def cost(count: int) -> float:
        nodes = [read_document(line) for line in many(count)]
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            compare(nodes, Facts().fleet)
            best = min(best, time.process_time() - start)
        return best

    assert cost(2000) < 10 * cost(500)
