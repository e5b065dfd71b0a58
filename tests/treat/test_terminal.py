"""At a terminal: the question, its answers, and bars that leave nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from clinic import DOCTOR
from trees import snapshot

if TYPE_CHECKING:
    from clinic import Clinic

SPAWN = """
import os, pty, sys
answer, argv = bytes.fromhex(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(argv[0], argv)
shown = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    asked = b"[y/N]" in shown
    shown += piece
    if not asked and b"[y/N]" in shown:
        os.write(terminal, answer)
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.stdout.flush()
os._exit(os.waitstatus_to_exitcode(status))
"""


def at_terminal(clinic: Clinic, answer: bytes) -> tuple[int, str]:
    """Run `fix` at a terminal of its own, answer its question, and give exit code and all that was shown."""
    arguments = ["fix", "--wheelhouse", str(clinic.wheels), "--offline", "--import-only", "--python", str(clinic.venv)]
    # in a process without threads: forking this one would be warned about
    run = subprocess.run(
        [sys.executable, "-c", SPAWN, answer.hex(), str(DOCTOR), *arguments],
        env={**clinic.environ(), "TERM": "xterm"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return run.returncode, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", run.stdout.decode())


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 130), (b"\n", 130), (b"\x03", 130)])
def test_the_question_is_asked_and_the_answer_counts(clinic: Clinic, answer: bytes, code: int) -> None:
    clinic.flash("2.8.3")
    clinic.einops()
    before = snapshot(clinic.venv)
    ended, shown = at_terminal(clinic, answer)
    assert ended == code, shown
    assert "install flash-attn 2.8.3" in " ".join(shown.split())
    assert "Traceback" not in shown
    assert (snapshot(clinic.venv) == before) is (code != 0)
