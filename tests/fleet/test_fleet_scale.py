"""Ten thousand nodes in bounded memory; how long they take is for scripts/dev/bench.py to say."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from reports import many

if TYPE_CHECKING:
    from pathlib import Path

# the peak is not ru_maxrss, which a child inherits from the process that started it
SCRIPT = """
import json, sys
from pathlib import Path
from flash_doctor.facts import Facts
from flash_doctor.fleet.compare import compare
from flash_doctor.fleet.sources import read_all
found = compare(read_all(["-"], sys.stdin.buffer), Facts().fleet)
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([len(found.names), len(found.differences), int(peak) // 1024]))
"""


def test_ten_thousand_reports_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "fleet.jsonl"
    with file.open("w") as stream:
        stream.writelines(f"{line}\n" for line in many(10_000))
    with file.open() as stream:
        done = subprocess.run([sys.executable, "-c", SCRIPT], stdin=stream, capture_output=True, text=True, check=True)
    nodes, differences, megabytes = json.loads(done.stdout)
    assert (nodes, differences) == (10_000, 3)
    assert megabytes < 150
