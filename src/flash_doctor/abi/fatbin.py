"""GPU code in a binary: the architectures in `.nv_fatbin`, found by hopping from header to header.

The format is not documented; what stands here was measured on nvcc 13.0 output (every `-gencode` form, both
compressions, debug), and agrees with what the publishers of torchvision, torchaudio, torchao, xformers and
vllm-flash-attn wheels (CUDA 11.0 to 13) built for. In those of CUDA before 12.9 no family-specific target exists, and
the marks were seen for sm_90a and sm_100a only. A chain is a header `<IHHQ` (magic, version, header
size, payload size) and its entries `<HHIQ` (kind, version, header size, payload size) with the architecture as
`<I` at 28 and flags as `<Q` at 40: bit 20 marks an architecture-specific target (sm_90a), bit 21 a
family-specific one (sm_100f). Payloads, compressed or not, are never touched.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Capability, Part, Unknown
from flash_doctor.model.binaries import ARCHITECTURE, CudaArchs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from flash_doctor.abi.elf import Elf, Section

_MAGIC = struct.pack("<I", 0xBA55ED50)
_CHAIN = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ")
_PTX, _SASS = 1, 2
_SPECIFIC, _FAMILY = 1 << 20, 1 << 21
_FLAGS_END = 48
# libtorch_cuda.so has tens of thousands of entries; this many headers are hopped in about half a second
_HOP_LIMIT = 1 << 18


class Suffix(Enum):
    """What narrows an architecture: nothing, `a` (this one exactly), `f` (its family), or we cannot tell."""

    NONE = ""
    SPECIFIC = "a"
    FAMILY = "f"
    UNREADABLE = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One compile target, as in sm_90a."""

    capability: Capability
    suffix: Suffix = Suffix.NONE

    def __str__(self) -> str:
        return f"{self.capability}{self.suffix.value}"

    @property
    def sort_key(self) -> tuple[Capability, str]:
        return (self.capability, self.suffix.value)


class Runnable(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    verdict: Runnable
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCode:
    """Targets with machine code (`sass`) and with PTX that the driver can compile for newer GPUs, each sorted."""

    sass: tuple[Arch, ...]
    ptx: tuple[Arch, ...]

    def runs_on(self, gpu: Capability, tegra: Collection[Capability] = ()) -> Runs:
        """Whether a GPU of that compute capability can run this code; `tegra` are the Jetson and Drive chips."""
        answers = [_sass_runs(arch, gpu, tegra) for arch in self.sass] + [_ptx_runs(arch, gpu) for arch in self.ptx]
        for wanted in (Runnable.YES, Runnable.UNKNOWN):
            for answer in answers:
                if answer.verdict is wanted:
                    return answer
        return Runs(verdict=Runnable.NO, why=f"no code for compute capability {gpu}: it has {self}")

    def __str__(self) -> str:
        kinds = (("machine code for", self.sass), ("PTX for", self.ptx))
        return " and ".join(f"{kind} {', '.join(map(str, targets))}" for kind, targets in kinds if targets) or "none"


def parse_arch(text: str) -> Arch:
    """The target that `str` wrote: 9.0, 9.0a, 10.0f, 12.1?.

    Raises:
        ValueError: it is none.
    """
    match = ARCHITECTURE.fullmatch(text)
    if match is None:
        message = f"{text[:40]!r} is no GPU architecture"
        raise ValueError(message)
    return Arch(capability=Capability(major=int(match[1]), minor=int(match[2])), suffix=Suffix(match[3]))


def _family(arch: Capability, gpu: Capability) -> bool:
    return arch.major == gpu.major and arch.minor <= gpu.minor


def _sass_runs(arch: Arch, gpu: Capability, tegra: Collection[Capability]) -> Runs:
    """Machine code: exact always; upward within a major version, but never between Tegra and the others."""
    if arch.capability == gpu:
        return Runs(verdict=Runnable.YES, why=f"machine code for {arch}")
    alien = arch.capability in tegra or gpu in tegra
    if alien or arch.suffix is Suffix.SPECIFIC or not _family(arch.capability, gpu):
        return Runs(verdict=Runnable.NO, why=f"machine code for {arch} does not run on {gpu}")
    return _unless_unreadable(arch, f"machine code for {arch} runs on {gpu}")


def _ptx_runs(arch: Arch, gpu: Capability) -> Runs:
    """PTX: any GPU as new or newer; `a` exactly that one, `f` its family."""
    if arch.capability == gpu:
        return Runs(verdict=Runnable.YES, why=f"PTX for {arch}, compiled by the driver")
    narrowed = arch.suffix is Suffix.SPECIFIC or (arch.suffix is Suffix.FAMILY and not _family(arch.capability, gpu))
    if narrowed or arch.capability > gpu:
        return Runs(verdict=Runnable.NO, why=f"PTX for {arch} cannot be compiled for {gpu}")
    return _unless_unreadable(arch, f"PTX for {arch}, compiled by the driver for {gpu}")


def _unless_unreadable(arch: Arch, why: str) -> Runs:
    if arch.suffix is Suffix.UNREADABLE:
        return Runs(verdict=Runnable.UNKNOWN, why=f"whether {arch.capability} is bound to that exact GPU is unreadable")
    return Runs(verdict=Runnable.YES, why=why)


def gpu_code(file: Elf) -> Part[GpuCode]:
    """The targets of a binary's GPU code; Absent where it has none, Unknown where the chains are damaged."""
    start, end = _place(file)
    found: dict[int, set[Arch]] = {_PTX: set(), _SASS: set()}
    hops = 0
    for kind, arch in _entries(file, start, end):
        hops += 1
        if arch is None or hops > _HOP_LIMIT:
            return Unknown(unknown=f"{file.name}: the GPU code is damaged after {hops - 1} parts")
        found.setdefault(kind, set()).add(arch)
    if not hops:
        return Absent(absent="no .nv_fatbin section, and no CUDA code elsewhere in the file")
    sass, ptx = (tuple(sorted(found[kind], key=lambda arch: arch.sort_key)) for kind in (_SASS, _PTX))
    return GpuCode(sass=sass, ptx=ptx)


def _place(file: Elf) -> tuple[int, int]:
    """Where chains may be: the section, or the whole file where sections were stripped."""
    section: Section | None = file.section(".nv_fatbin")
    if section is not None:
        return section.offset, min(section.offset + section.size, file.size)
    return (0, 0) if file.sections else (0, file.size)


def _entries(file: Elf, start: int, end: int) -> Iterator[tuple[int, Arch | None]]:
    """Kind and target of every entry of every chain; a target of None says that the chain is damaged there."""
    at = _next_chain(file, start, end)
    while at >= 0:
        _, _, header, payload = file.unpack("<IHHQ", at)
        stop = at + header + payload
        if header < _CHAIN.size or stop > end:
            yield 0, None
            return
        yield from _chain_entries(file, at + header, stop)
        at = _next_chain(file, stop, end)


def _chain_entries(file: Elf, at: int, stop: int) -> Iterator[tuple[int, Arch | None]]:
    while at + _ENTRY.size <= stop:
        head = file.read(at, min(64, stop - at))
        kind, _, header, payload = _ENTRY.unpack_from(head)
        if header < 32 or len(head) < 32 or at + header + payload > stop:
            yield 0, None
            return
        yield kind, _target(head, header)
        at += header + payload


def _target(head: bytes, header: int) -> Arch:
    (number,) = struct.unpack_from("<I", head, 28)
    return Arch(capability=Capability(major=number // 10, minor=number % 10), suffix=_suffix(head, header))


def _suffix(head: bytes, header: int) -> Suffix:
    if min(header, len(head)) < _FLAGS_END:
        return Suffix.UNREADABLE
    (flags,) = struct.unpack_from("<Q", head, 40)
    marks = {0: Suffix.NONE, _SPECIFIC: Suffix.SPECIFIC, _FAMILY: Suffix.FAMILY}
    return marks.get(flags & (_SPECIFIC | _FAMILY), Suffix.UNREADABLE)


def _next_chain(file: Elf, start: int, end: int) -> int:
    """Offset of the next chain (they are aligned to 8 bytes), or -1."""
    step = 1 << 20
    while start < end:
        at = file.data.find(_MAGIC, start, end)
        if at < 0 or at % 8 == 0:
            return at
        start = at + 1
        step -= 1
        if not step:
            return -1
    return -1


def archs(code: Part[GpuCode]) -> Part[CudaArchs]:
    """GPU code as it is told to people and in JSON."""
    if isinstance(code, (Absent, Unknown)):
        return code
    return CudaArchs(sass=tuple(map(str, code.sass)), ptx=tuple(map(str, code.ptx)))
