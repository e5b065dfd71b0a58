"""Logs that cost a reader much: harmless ones whose lines hold ids, and such as whoever has the code would write."""

from __future__ import annotations

import base64
import random
import re
import string
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from flash_doctor.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable

parser: Any = getattr(re, "_parser", None) or __import__("sre_parse")
Rnd = random.Random
STAMP = "2026-11-30 12:{:02d}:{:02d},123"
ID_KINDS = ("uuid", "hex", "base64", "base32", "letters", "words", "chinese")


def log(kind: str, size: int, seed: int = 5) -> bytes:
    """A log of that kind, of at least `size` bytes."""
    rnd, lines, length = Rnd(seed), [], 0
    make = KINDS[kind]
    while length < size:
        line = make(rnd)
        lines.append(line if isinstance(line, bytes) else line.encode("utf-8", "replace"))
        length += len(lines[-1])
    return b"".join(lines)


def an_id(rnd: Rnd, kind: str = "") -> str:
    """An id as services print it."""
    raw = rnd.getrandbits(128)
    return {
        "uuid": lambda: str(uuid.UUID(int=raw)),
        "hex": lambda: f"{raw:0{rnd.choice((7, 12, 32))}x}",
        "base64": lambda: base64.b64encode(raw.to_bytes(16, "big")).decode().rstrip("="),
        "base32": lambda: base64.b32encode(raw.to_bytes(16, "big")).decode().lower().rstrip("="),
        "letters": lambda: "".join(rnd.choices(string.ascii_lowercase, k=rnd.randrange(3, 24))),
        "words": lambda: "-".join("".join(rnd.choices(string.ascii_lowercase, k=4)) for _ in range(4)),
        "chinese": lambda: "".join(chr(rnd.randrange(0x4E00, 0x9FA5)) for _ in range(8)),
    }[kind or rnd.choice(ID_KINDS)]()


# what services say of something by its id when all is well enough
SENTENCES = (
    "WARN worker request {} not found in cache, retrying",
    "warning: {} is not available on this node, using {}",
    "INFO upload {} failed, 2 retries left",
    "[W] {}: connection to {} timed out, will retry",
    "WARNING checkpoint {} not ready",
    "request {} requires {}, rescheduling",
    "error: job {} was killed by user {}",
    'trace={} span={} level=warning msg="not sampled"',
    "W0510 worker.cc:12] build {} is too old, fetching {}",
    "GET /blobs/{} 404 not found",
    "INFO cache miss for {}: not compiled for {}",
    "Warning: no such key {} in {}",
    "task {} failed with {}: out of memory pool slots, retrying",
    "downloading {}... error 1, retrying from mirror {}",
    "fatal: {} not a valid object name (ignored)",
    "WARN broker {} is not reachable yet",
    "{} undefined, using the default {}",
    "loss 2.31 step 5 warn {} packed {}",
    "missing optional field {} in {}, not an error",
)


def with_ids(rnd: Rnd) -> str:
    """A harmless line with ids."""
    text = rnd.choice(SENTENCES)
    stamp = STAMP.format(rnd.randrange(60), rnd.randrange(60))
    return f"{stamp} {text.format(*(an_id(rnd) for _ in range(text.count('{}'))))}\n"


@cache
def literals() -> tuple[str, ...]:
    """For each pattern of the catalogue a text of its fixed letters."""
    return tuple(_literal(parser.parse(text)) for row in Facts().complaints.by_id.values() for text in row.patterns)


def _literal(tree: Any) -> str:
    text = ""
    for operation, argument in tree:
        if str(operation) == "LITERAL":
            text += chr(argument)
        elif str(operation) in {"MAX_REPEAT", "MIN_REPEAT"}:
            text += _literal(argument[2]) * max(1, argument[0]) if argument[1] < 10 else " "
        elif str(operation) == "SUBPATTERN":
            text += _literal(argument[-1])
        elif str(operation) == "BRANCH":
            text += _literal(argument[1][0])
        elif str(operation) in {"IN", "ANY", "NOT_LITERAL"}:
            text += "1"
    return text


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word of every pattern."""
    return tuple(sorted({word for text in literals() for word in text.split()}))


def _beginnings(rnd: Rnd) -> str:
    texts = rnd.choices(literals(), k=6)
    return " ".join(text[: rnd.randrange(3, max(4, len(text)))] for text in texts) + " error\n"


def _same_letters(rnd: Rnd) -> str:
    """What a pattern begins with, over and over, and its end far away."""
    text = rnd.choice(literals())
    return text[: len(text) // 2] * rnd.randrange(10, 60) + " " * 400 + text + "\n"


def _matching(rnd: Rnd) -> str:
    return f"{an_id(rnd, 'uuid')} error: no module named 'torch' in {an_id(rnd, 'letters')}\n"


def _short_matching(rnd: Rnd) -> str:
    return f"{''.join(rnd.choices(string.ascii_letters, k=4))} error 803\n"


KINDS: dict[str, Callable[[Rnd], str | bytes]] = {
    "uuid": lambda rnd: f"{STAMP.format(1, 2)} WARN worker request {an_id(rnd, 'uuid')} not found in cache, retrying\n",
    "letters": lambda rnd: f"fail{''.join(rnd.choices(string.ascii_lowercase, k=5))}\n",
    "short": lambda rnd: f"fail{rnd.choice(string.ascii_letters)}\n{''.join(rnd.choices(string.ascii_letters, k=2))}\n",
    "hex": lambda rnd: f"warn {an_id(rnd, 'hex')} {an_id(rnd, 'hex')}\n",
    "base64": lambda rnd: f"not sent: {an_id(rnd, 'base64')}\n",
    "chinese": lambda rnd: f"错误 warn {an_id(rnd, 'chinese')}\n",
    "emoji": lambda rnd: f"warn {''.join(chr(rnd.randrange(0x1F300, 0x1F5FF)) for _ in range(9))}\n",
    "ids": with_ids,
    "matching": _matching,
    "short-matching": _short_matching,
    "counted-matching": lambda rnd: f"step {rnd.getrandbits(40)}: NCCL error, timeout after {rnd.getrandbits(9)} s\n",
    "groups": lambda rnd: f"{an_id(rnd, 'letters')}: libcudart.so.{rnd.randrange(1000)}: cannot open shared object\n",
    "symbols": lambda rnd: f"a/{an_id(rnd, 'letters')}.so: undefined symbol: _ZN3c10{an_id(rnd, 'letters')}Ev\n",
    "not-near": lambda rnd: f"{an_id(rnd, 'base64')} find libcuda failed: no kernel image for cudaErrorNoDevice\n",
    "complaints": lambda rnd: f"{rnd.choice(literals())} error {an_id(rnd, 'letters')}\n",
    "many-complaints": lambda rnd: " ".join(rnd.choices(literals(), k=8)) + " error\n",
    "beginnings": _beginnings,
    "vocabulary": lambda rnd: " ".join(rnd.choices(vocabulary(), k=20)) + " error\n",
    "long-vocabulary": lambda rnd: " ".join(rnd.choices(vocabulary(), k=500)) + " error\n",
    "same-letters": _same_letters,
    "clues": lambda rnd: (
        f"torch {rnd.randrange(9)}.{rnd.randrange(99)}.1 rtx {rnd.randrange(1000, 9999)} warn {an_id(rnd)}\n"
    ),
    "failures": lambda rnd: f"{an_id(rnd, 'letters')}.OddError: {an_id(rnd)}\n",
    "tracebacks": lambda rnd: (
        f"Traceback (most recent call last):\n  File {an_id(rnd)}\n{an_id(rnd, 'letters')}Error: x\n"
    ),
    "binary": lambda rnd: rnd.randbytes(4096),
    "binary-lines": lambda rnd: rnd.randbytes(40).replace(b"\0", b"") + b" fail\n",
    "one-line": lambda rnd: f"{rnd.choice(vocabulary())} error ",
    "one-line-of-ids": lambda rnd: f"{an_id(rnd)} not found ",
    "spaces": lambda rnd: " " * rnd.randrange(2000, 4000) + f"error{an_id(rnd)}\n",
    "prefixes": lambda rnd: f"[rank{rnd.randrange(8)}]: " * 5 + f"(a pid={rnd.randrange(99)}) fail {an_id(rnd)}\n",
    "brackets": lambda rnd: "[rank(" * rnd.randrange(1, 300) + f" fail {an_id(rnd)}\n",
    "escapes": lambda rnd: f"\x1b[31mfail\x1b[0m \x1b]0;{an_id(rnd)}\x07" + "\x1b[" * 20 + f"{an_id(rnd)}\n",
    "bars": lambda rnd: f"{rnd.randrange(100)}%|{'#' * rnd.randrange(50)}| warn {an_id(rnd, 'letters')}\r",
    "commands": lambda rnd: (
        f"[{rnd.randrange(99)}/99] /usr/bin/g++ -DERROR={an_id(rnd, 'letters')} -Wno-error -c x.cpp\n"
    ),
    "paths": lambda rnd: "/".join(an_id(rnd, "letters") for _ in range(40)) + ": error: not found\n",
    "secrets": lambda rnd: f"error 803 {'token=' * 30}{an_id(rnd, 'base64')} a@b.c\n",
}
