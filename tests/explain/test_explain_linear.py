"""What `explain` costs: counted in steps of the matcher, never in seconds; and what lines with ids must not mean."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cases_told import FACTS
from flash_doctor.explain import explain
from flash_doctor.explain.cleaning import clean_text
from flash_doctor.explain.crowd import Crowd, Lines
from flash_doctor.explain.matcher import SAVED, Matcher
from flash_doctor.system.linear import Work
from slow_logs import ID_KINDS, KINDS, SENTENCES, an_id, log

if TYPE_CHECKING:
    from flash_doctor.model.explanation import Explanations

# measured: 650 million steps in the first 400 kB at most, then 340 a byte at most (a second of CPU: some 1,000 million)
FIRST, A_BYTE_MORE = 700_000_000, 400
SMALL, LARGE = 400_000, 1_600_000
GLIBC = b"ImportError: /lib64/libc.so.6: version `GLIBC_2.32' not found (required by /x/flash_attn_2_cuda.so)\n"
GCC = b"/bin/sh: 1: gcc: command not found\n"


def told(text: bytes, work: Work | None = None) -> Explanations:
    return explain(io.BytesIO(text), FACTS, None, work)


def codes(text: bytes) -> set[str]:
    """Of all causes, consequences included."""
    found = told(text).explanations
    return {item.code for cause in found for item in (cause, *cause.consequences)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_work_grows_with_the_log_and_with_nothing_else(kind: str) -> None:
    small, large = Work(), Work()
    told(log(kind, SMALL), small)
    told(log(kind, LARGE), large)
    assert small.steps <= FIRST
    assert large.steps - small.steps <= A_BYTE_MORE * (LARGE - SMALL)


def test_the_allowance_is_what_bounds_it() -> None:
    """With all the allowance that it may want the same log costs more than twice as much."""
    lines = log("many-complaints", LARGE).splitlines()
    bounded, generous = (Matcher(FACTS.complaints) for _ in range(2))
    generous.work.steps = -SAVED
    generous.earn(sys.maxsize)
    for matcher in (bounded, generous):
        matcher.sift(Crowd(lines))
    assert bounded.work.steps <= FIRST < generous.work.steps + SAVED


@pytest.mark.parametrize("kind", ["uuid", "letters", "ids", "matching", "complaints", "many-complaints", "one-line"])
def test_the_error_after_such_a_log_is_found_and_has_its_line(kind: str) -> None:
    noise = log(kind, 700_000) + b"\n"
    found = told(noise + GLIBC)
    all_of_them = [item for cause in found.explanations for item in (cause, *cause.consequences)]
    assert [item.lines[-1].number for item in all_of_them if item.code == "glibc-too-old"][-1:] == [
        noise.count(b"\n") + 1
    ]


def test_a_count_that_is_no_count_says_so() -> None:
    (found,) = told(log("matching", LARGE)).explanations
    assert found.at_least
    assert 100 < found.count < LARGE // 60
    (same_shape,) = told(b"".join(b"step %d: error: no module named 'torch'\n" % n for n in range(20_000))).explanations
    assert (same_shape.count, same_shape.at_least) == (20_000, False)


@pytest.mark.parametrize("seed", range(4))
def test_harmless_lines_with_ids_have_no_cause(seed: int) -> None:
    assert told(log("ids", 1_000_000, seed)).explanations == ()


@pytest.mark.parametrize("kind", ["uuid", "hex", "base64", "letters", "chinese"])
def test_harmless_lines_of_one_kind_have_no_cause(kind: str) -> None:
    assert told(log(kind, 2_000_000)).explanations == ()


SHORT_WORDS = [
    "cc",
    "gcc",
    "g++",
    "nvcc",
    "oom",
    "nccl",
    "fa3",
    "gpu",
    "wsl",
    "pip",
    "ada",
    "abi",
    "mix",
    "401",
    "rocm",
]
SHORT_WORDS += ["bf16", "cuda", "t4", "hip", "cl.exe", "disk", "fail", "not", "amd_gpu"]
FINE = "step 1 and all is fine\n" * 500  # a log, and no question


@pytest.mark.parametrize("word", SHORT_WORDS)
def test_an_id_that_ends_in_a_word_is_not_that_word(word: str) -> None:
    """In every harmless sentence, behind every kind of id."""
    rnd = random.Random(word)
    lines = [
        sentence.format(*(an_id(rnd, kind).rstrip("-") + word for _ in range(sentence.count("{}"))))
        for sentence in SENTENCES
        for kind in ID_KINDS[:5]
    ]
    assert told(f"{FINE}{FINE.join(line + chr(10) for line in lines)}".encode()).explanations == ()


@pytest.mark.parametrize(
    "before", ["", "/bin/sh: 1: ", "sh: ", "error: ", "\\n", "[1/9] ", '"', "错误", "bash: line 1: ", "_"]
)
@pytest.mark.parametrize("word", ["gcc", "cc", "g++"])
def test_the_word_itself_is_still_that_word(before: str, word: str) -> None:
    assert codes(f"{before}{word}: command not found\n".encode()) == {"no-compiler"}


@pytest.mark.parametrize("end", ["cc", "gcc"])
def test_the_uuid_of_the_field_report(end: str) -> None:
    line = f"2026-11-30 12:19:43,123 WARN worker request cc7c6d81-2d6f-2efc-4e61-3a365119cd{end} not found in cache\n"
    assert codes(line.encode()) == set()
    assert codes(line.encode() + GCC) == {"no-compiler"}


def test_a_message_is_found_wherever_a_long_line_is_cut() -> None:
    for offset in range(3500, 4700, 37):
        line = b"x error " * 2000
        assert codes(log("one-line", 200_000) + b"\n" + line[:offset] + b" " + GLIBC.strip() + line) >= {
            "glibc-too-old"
        }


def test_lines_of_a_crowd_stay_what_they_are() -> None:
    text = "a\r\nb \x1b[31mred\x1b[0m\n\n[rank0]: [rank1]: c\n \u2502 d\n3: e\nE   f\n\x1b]0;t\x07g\nx-1  | h\nlast"
    assert clean_text(text) == ["a", "", "b red", "", "c", "d", "e", "f", "g", "h", "last"]
    lines = Lines(text.encode())
    assert len(Crowd(lines.texts).lines) == len(lines.texts)
    assert [text.encode()[start:].startswith(line) for start, line in zip(lines.starts, lines.texts, strict=False)]


def test_long_lines_are_read_in_pieces_that_overlap() -> None:
    block = bytes(range(33, 120)) * 120
    lines = Lines(b"short\n" + block + b"\nend")
    assert max(map(len, lines.texts)) <= 4096
    assert all(
        (b"short\n" + block + b"\nend")[at:].startswith(line)
        for at, line in zip(lines.starts, lines.texts, strict=False)
    )
    assert all(any(block[at : at + 500] in line for line in lines.texts) for at in range(0, len(block) - 500, 97))


def test_memory_stays_bounded() -> None:
    """Of the whole process, at its highest: a log of all complaints, and one of new shapes."""
    code = (
        "import io, sys\nfrom pathlib import Path\nfrom flash_doctor.explain import explain\n"
        "from flash_doctor.facts import Facts\n"
        "explain(sys.stdin.buffer, Facts())\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(next(line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')))\n"
    )
    for kind in ("complaints", "letters"):
        done = subprocess.run([sys.executable, "-c", code], input=log(kind, 3_000_000), capture_output=True, check=True)
        assert int(done.stdout) * 1024 < 60e6, kind
