"""The words of a wheel's name and of a matrix row, as values. Few of them differ, so each is parsed once."""

from __future__ import annotations

import re
from functools import cache

from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.model import Capability
from flash_doctor.model.wheel import WheelTarget

_CODE = re.compile(r"(\d+)\.(\d)([a+]?)")
_TAG = re.compile(r"cp\d{2,3}[mt]?|(?:cp|py)\d{1,3}-(?:abi3|none)")
_GLIBC = re.compile(r"manylinux_(\d+_\d+)_")
# PEP 600 names for the older tags
_OLD_MANYLINUX = {"manylinux2014": "2.17", "manylinux2010": "2.12", "manylinux1": "2.5"}

distribution = cache(canonicalize_name)
release = cache(Version)


@cache
def version(text: str | None) -> Version | None:
    return Version(text) if text else None


@cache
def gpu_code(text: str) -> tuple[WheelTarget, ...]:
    """`8.0 9.0a` as values."""
    found = []
    for word in text.split():
        match = _CODE.fullmatch(word)
        if match is None:
            message = f"{word} is no GPU architecture"
            raise ValueError(message)
        capability = Capability(major=int(match[1]), minor=int(match[2]))
        found.append(WheelTarget(capability=capability, exact=match[3] == "a", upward=match[3] == "+"))
    return tuple(found)


@cache
def tags(text: str) -> tuple[str, str]:
    """(Python tag, ABI tag): cp312 is both, cp37m and cp313t are the ABI alone, cp39-abi3 is written out."""
    if not _TAG.fullmatch(text):
        message = f"{text} is no Python tag"
        raise ValueError(message)
    python, dash, abi = text.partition("-")
    return (python, abi) if dash else (text.rstrip("mt"), text)


@cache
def platform(text: str) -> tuple[str, str, str | None]:
    """System, machine and oldest glibc of a platform tag; of several joined by dots the most lenient counts."""
    if text == "any":
        return "any", "any", None
    if text.startswith("win"):
        return "windows", "x86_64" if text.endswith("amd64") else text, None
    machine = "aarch64" if text.endswith("aarch64") else "x86_64"
    if not text.endswith(machine) or "linux" not in text:
        message = f"{text} is no platform that is known"
        raise ValueError(message)
    floors = [floor for part in text.split(".") if (floor := _floor(part))]
    return "linux", machine, min(floors, key=Version, default=None)


def _floor(part: str) -> str | None:
    match = _GLIBC.match(part)
    return match[1].replace("_", ".") if match else _OLD_MANYLINUX.get(part.partition("_")[0])
