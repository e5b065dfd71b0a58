"""An independent judge: plain loops over the raw rows of the matrix, with the rules written a second time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MATRIX = Path(__file__).parents[1] / "wheel_matrix" / "wheels"
DRIVER_FOR_MAJOR = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580,)}

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """python as 3.12 or 3.13t, torch as (2, 8), cuda as (12, 8), gpu as (9, 0); None: not known."""

    python: str | None = None
    torch: tuple[int, int] | None = None
    cuda: tuple[int, int] | None = None
    cxx11abi: bool | None = None
    glibc: tuple[int, int] | None = None
    gpu: tuple[int, int] | None = None
    machine: str | None = None
    driver: tuple[int, ...] | None = None


@cache
def raw_rows() -> tuple[Row, ...]:
    """Every wheel of FlashAttention 2 as one flat dictionary, known faults applied."""
    rows = []
    for path in sorted(MATRIX.glob("*.json")):
        data = json.loads(path.read_text())
        for family in data["families"]:
            shared = dict(zip(data["columns"], family, strict=True))
            shared |= {"publisher": data["publisher"], "glibc": None, "broken": False}
            for fault in data["faults"]:
                if all(shared[key] in values for key, values in fault["where"].items()):
                    shared |= fault["effect"]
            rows += [shared | {"tag": tag} for tag in shared["pythons"].split() if shared["dist"] == "flash_attn"]
    return tuple(rows)


@cache
def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def valid(row: Row, here: Machine) -> bool:
    """Whether that wheel works on that machine, question by question."""
    return (
        row["evidence"] != "absent"
        and not row["broken"]
        and not row["version"].startswith("1.")
        and _torch(row, here)
        and _python(row, here)
        and _platform(row, here)
        and _gpu(row, here)
        and _driver(row, here)
    )


def _python(row: Row, here: Machine) -> bool:
    tag = row["tag"].replace("cp37m", "cp37")
    return here.python is None or tag == "cp" + here.python.replace(".", "")


def _platform(row: Row, here: Machine) -> bool:
    if row["platform"].startswith("win"):
        return here.machine is None and here.python is None and here.glibc is None
    if here.machine is not None and not row["platform"].endswith(here.machine):
        return False
    floors = [numbers(part.split("_", 1)[1].rsplit("_", 2 if "x86" in part else 1)[0].replace("_", "."))
              for part in row["platform"].split(".") if part.startswith("manylinux_")]  # fmt: skip
    floors += [(2, 17)] * ("manylinux2014" in row["platform"])
    floor = min(floors, default=None)
    if row["glibc"]:
        floor = numbers(row["glibc"])
    return here.glibc is None or floor is None or here.glibc >= floor


def _torch(row: Row, here: Machine) -> bool:
    if here.torch is not None and numbers(row["torch"]) != here.torch:
        return False
    if here.cuda is not None and numbers(row["cuda"])[0] != here.cuda[0]:
        return False
    return here.cxx11abi is None or row["cxx11abi"] is None or row["cxx11abi"] == here.cxx11abi


def _gpu(row: Row, here: Machine) -> bool:
    if here.gpu is None:
        return True
    if here.gpu in {(8, 7), (11, 0)}:
        return False
    return any(here.gpu[0] == code[0] and here.gpu[1] >= code[1] for code in map(numbers, row["code"].split()))


def _driver(row: Row, here: Machine) -> bool:
    return here.driver is None or here.driver >= DRIVER_FOR_MAJOR[numbers(row["cuda"])[0]]


def wheels_for(here: Machine) -> list[Row]:
    return [row for row in raw_rows() if valid(row, here)]
