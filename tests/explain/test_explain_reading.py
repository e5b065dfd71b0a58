"""Logs as they come: colours, progress bars, ranks, wrapped lines, any encoding, any length, in bounded memory."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

from cases_told import FACTS
from flash_doctor.explain import explain
from flash_doctor.explain.cleaning import clean_line
from flash_doctor.explain.reading import SMALL, Log
from flash_doctor.model.explanation import Explanations
from flash_doctor.system.linear import Work

GLIBC = "ImportError: /lib64/libc.so.6: version `GLIBC_2.32' not found (required by /x/flash_attn_2_cuda.so)"
NOISE = "step {} loss=1.234 grad_norm=0.5 learning_rate=1e-5\n"


def told(text: str | bytes) -> Explanations:
    return explain(io.BytesIO(text.encode() if isinstance(text, str) else text), FACTS)


def families(text: str | bytes) -> list[str]:
    return [item.family for item in told(text).explanations]


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[31m{}\x1b[0m",
        "[rank3]: {}",
        "3: {}",
        "(worker pid=123, ip=10.0.0.4) {}",
        "(TrainActor rank=2) {}",
        "[default0]:{}",
        "[1,5]<stderr>: {}",
        "2026-01-02T03:04:05.678Z {}",
        "train-1  | {}",
        "E   {}",
        "  │ {}",
        "\x1b]0;title\x07\x1b[1m[rank0]: {}",
    ],
)
def test_prefixes_of_launchers_are_taken_off(line: str) -> None:
    assert clean_line(line.format(GLIBC)) == GLIBC
    first = told(line.format(GLIBC) + "\n").explanations[0]
    assert (first.family, first.lines[0].text) == ("glibc-too-old", GLIBC)


def test_a_progress_bar_does_not_hide_the_error() -> None:
    bar = "".join(f"\r{n}%|{'#' * n:<100}|" for n in range(100))
    assert families(f"{bar}\r{GLIBC}") == ["glibc-too-old"]


def test_a_message_wrapped_by_a_terminal_is_read_as_one() -> None:
    wrapped = (
        "RuntimeError: The detected CUDA version (12.1)\nmismatches the version that was\nused to compile PyTorch."
    )
    assert families(wrapped) == ["cuda-toolkit-mismatch"]


def test_equal_complaints_of_many_ranks_are_one_with_a_count() -> None:
    text = "".join(f"[rank{rank}]: {GLIBC}\n" for rank in range(64))
    (only,) = told(text).explanations
    assert (only.count, only.lines[0].number, len(only.lines)) == (64, 1, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "latin-1", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    text = "Ä ö " + NOISE.format(1) * 50 + GLIBC
    assert families(text.encode(encoding)) == ["glibc-too-old"]


@pytest.mark.parametrize("size", [1, SMALL - 100, SMALL, SMALL + 1, 1 << 18, (1 << 18) - 40, (1 << 18) + 40, 1 << 20])
def test_line_numbers_and_counts_are_right_wherever_blocks_end(size: int) -> None:
    before = NOISE.format(0) * (size // len(NOISE.format(0)) + 1)
    number = before.count("\n") + 1
    answer = told(before + GLIBC + "\n" + NOISE.format(2) * 3)
    assert [(item.family, item.lines[0].number) for item in answer.explanations] == [("glibc-too-old", number)]
    assert answer.lines_read == number + 3
    assert answer.bytes_read == len(before + GLIBC + "\n" + NOISE.format(2) * 3)


class Dripping(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(977)


def test_a_pipe_that_drips() -> None:
    text = NOISE.format(0) * 300 + GLIBC + "\n"
    assert [item.family for item in explain(Dripping(text.encode()), FACTS).explanations] == ["glibc-too-old"]


def test_a_line_of_a_hundred_megabytes() -> None:
    line, work = b"x error y " * 5_000_000, Work()
    answer = explain(io.BytesIO(line + b" " + GLIBC.encode() + line), FACTS, None, work)
    assert [item.family for item in answer.explanations] == ["glibc-too-old"]
    assert work.steps < 100 * 2 * len(line)


def test_no_text_at_all() -> None:
    assert told(b"") == Explanations(explanations=(), unexplained=(), lines_read=0, bytes_read=0)


@settings(deadline=None, max_examples=150)
@given(st.one_of(st.binary(max_size=3000), st.text(max_size=3000).map(lambda text: text.encode("utf-8", "replace"))))
def test_anything_can_be_read(data: bytes) -> None:
    answer = told(data)
    assert answer.bytes_read == len(data)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_a_message_is_found_between_rubbish(before: bytes, after: bytes) -> None:
    text = before.replace(b"\0", b" ") + b"\n" + GLIBC.encode() + b"\n" + after.replace(b"\0", b" ")
    assert "glibc-too-old" in [
        name for item in told(text).explanations for name in (item.family, *(more.family for more in item.consequences))
    ]


def test_memory_stays_bounded() -> None:
    """A child that reads 200 MB through a pipe of its own."""
    code = (
        "from pathlib import Path\n"
        "from flash_doctor.explain import explain\nfrom flash_doctor.facts import Facts\n"
        "class Endless:\n"
        "    left = 200\n"
        "    def read(self, size):\n"
        "        self.left -= 1\n"
        "        return b'step 1 error=0.1 loss=2\\n' * 43690 if self.left >= 0 else b''\n"
        "explain(Endless(), Facts())\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 60e6


def test_what_is_read_is_counted_only_once() -> None:
    log = Log(io.BytesIO(b"a\nb\nc"))
    assert [excerpt.line for excerpt in log.excerpts()] == ["a", "b", "c"]
    assert (log.lines, log.size, log.head) == (3, 5, "a\nb\nc")


@pytest.mark.parametrize("before", range(1900, 6300, 88))
def test_no_place_in_a_long_line_hides_a_message(before: int) -> None:
    """A line is read in pieces, which overlap: the message lies whole in one of them, and is counted once."""
    line = "w " * (before // 2) + "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    (told,) = explain(io.BytesIO(f"{line}\nx\n".encode()), FACTS).explanations
    assert (told.family, told.count) == ("no-kernel-arch", 1)
