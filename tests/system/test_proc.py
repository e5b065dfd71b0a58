"""What the kernel tells of a child of ours: a real one that waits for a core, stays, or was ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from flash_doctor.system.process import queued, survives

BUSY = "import os; os.sched_setaffinity(0, {%d})\nwhile True: pass"


def test_two_that_share_a_core_wait_for_it_and_a_sleeper_does_not() -> None:
    core = min(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", BUSY % core]) for _ in range(2)]
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        deadline = time.monotonic() + 60
        while not all(queued(each.pid) > 0.2 for each in busy):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert queued(sleeper.pid) < 0.2
    finally:
        for each in (*busy, sleeper):
            each.kill()
            each.wait()
    assert queued(sleeper.pid) == 0.0


def test_what_was_killed_and_is_not_waited_for_is_no_survivor() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert survives(child.pid, 0.1)
        child.kill()
        assert not survives(child.pid, 30)  # a zombie until the block ends
    assert not survives(child.pid, 0)
