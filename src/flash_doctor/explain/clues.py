"""What a log says in passing about its machine: the torch that ran, the GPUs, an NVIDIA image. Weaker than a report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from flash_doctor.model import Absent, Capability, Unknown, known
from flash_doctor.system.linear import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.facts import Facts
    from flash_doctor.model import Environment

_TORCH = Pattern(
    r"(?i)(?:^|[^\w.-])(?:py)?torch(?:\.__version__)?(?:\s{0,2}version)?[\s:=]{1,6}v?"
    r"(?P<version>\d\.\d{1,2}(?:\.\d{1,2})?(?:(?:a|b|rc|\.dev)\d{1,8})?(?:\+[\w.]{1,40})?)"
)
_FLASH = Pattern(
    r"(?i)flash[-_]attn(?:ention)?(?:[\s=:v]{1,4})(?P<version>\d\.\d{1,2}\.\d{1,2}(?:\.post\d)?)"
    r"|flash_attn-(?P<file>\d\.\d{1,2}\.\d{1,2}(?:\.post\d)?)"
)
_NVIDIA_IMAGE = Pattern(r"(?i)nvcr\.io/nvidia|\bngc\b|torch[^\n]{0,20}\d\.\d{1,2}\.\d{1,2}a0\+|\+\w{7,12}\.nv\d\d")
# models of GPUs as the fact file writes them: "A100 40GB/80GB, A800", "GeForce RTX 3050/3060/3070/3080/3090 (Ti)"
_MODEL = re.compile(r"[A-Z]{0,2}\d{2,4}[A-Z]?")
# Python's own engine, since there may be one every three bytes: fixed, and each character read a few times at most
_WORD = re.compile(r"[A-Z]{0,2}\d{2,4}[A-Z]?(?![\w.])")
_BRANDED = re.compile(r"(?i)(?:rtx|gtx|geforce)\s{0,2}(\d{2,4})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """`torch` and `gpus` (name, capability) come from the report where there is one (`measured`), else from the log.

    `misnamed_wheel` is what is known against the flash-attn that the log names: a wheel whose C++ ABI is not the one
    in its name; empty where nothing is.
    """

    torch: Version | None
    gpus: tuple[tuple[str, Capability], ...]
    nvidia_image: bool
    measured: bool
    misnamed_wheel: str


def gather(text: str, facts: Facts, environment: Environment | None) -> Clues:
    """The clues of a log's text, and of the machine that was probed."""
    torch = known(environment.torch) if environment else None
    gpus = _probed_gpus(environment) if environment else ()
    words = text.encode("utf-8", "replace")
    vendor = torch is not None and not isinstance(torch.vendor, (Absent, Unknown))
    version = torch.version if torch else _torch_in(words)
    return Clues(
        torch=version,
        gpus=gpus or tuple(_gpus_in(text, facts)),
        nvidia_image=vendor or _NVIDIA_IMAGE.search(words) is not None,
        measured=bool(gpus),
        misnamed_wheel=_misnamed(words, version, facts),
    )


def _misnamed(text: bytes, torch: Version | None, facts: Facts) -> str:
    found = _FLASH.search(text)
    if not found or torch is None:
        return ""
    flash, series = Version(found["version"] or found["file"]), Version(f"{torch.major}.{torch.minor}")
    rows = (row for row in facts.quirks.wheels if row.certain and row.torch == series)
    row = next((row for row in rows if row.first <= flash <= row.last), None)
    return f"Official flash-attn {flash} wheels for torch {series}: {row.why}." if row else ""


def _probed_gpus(environment: Environment) -> tuple[tuple[str, Capability], ...]:
    gpus = known(environment.gpus)
    devices = gpus.devices if gpus else ()
    pairs = ((gpu.name, known(gpu.capability)) for gpu in devices)
    return tuple((name, capability) for name, capability in pairs if capability is not None)


def _torch_in(text: bytes) -> Version | None:
    found = _TORCH.search(text)
    try:
        return Version(found["version"]) if found else None
    except InvalidVersion:
        return None


def _gpus_in(text: str, facts: Facts) -> Iterable[tuple[str, Capability]]:
    """GPU models that the text names as whole words."""
    words, branded = set(_WORD.findall(text)), set(_BRANDED.findall(text))
    for capability, products in facts.gpus.products.items():
        for model in _MODEL.findall(" ".join(products.names)):
            if model in words and (not model.isdigit() or model in branded):
                yield model, capability
