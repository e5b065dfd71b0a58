"""GPU code: hand-built chains, real output of nvcc, and who may run what."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from compiled import shared
from fakes import CountingBuffer
from flash_doctor.abi.buffer import mapped
from flash_doctor.abi.elf import Elf
from flash_doctor.abi.fatbin import Arch, GpuCode, Runnable, Suffix, gpu_code
from flash_doctor.model import Absent, Capability, Part, Unknown

if TYPE_CHECKING:
    from pathlib import Path

PTX, SASS, LTO = 1, 2, 8
SPECIFIC, FAMILY = 1 << 20, 1 << 21
TEGRA = {Capability(major=7, minor=2), Capability(major=8, minor=7), Capability(major=11, minor=0)}


def entry(kind: int, arch: int, flags: int = 0x11, payload: bytes = b"\0" * 24, header: int = 64) -> bytes:
    head = struct.pack("<HHIQ", kind, 0x101, header, len(payload)).ljust(28, b"\0") + struct.pack("<I", arch)
    return (head.ljust(40, b"\0") + struct.pack("<Q", flags)).ljust(header, b"\0")[:header] + payload


def chain(*entries: bytes) -> bytes:
    payload = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(payload)) + payload


def with_section(path: Path, content: bytes) -> Path:
    """A shared object whose .nv_fatbin holds these bytes."""
    blob = path.with_suffix(".blob")
    blob.write_bytes(content)
    return shared(path, f'__asm__(".section .nv_fatbin,\\"a\\"\\n.balign 8\\n.incbin \\"{blob}\\"\\n.text");')


def read(path: Path) -> Part[GpuCode]:
    with mapped(path) as data:
        return gpu_code(Elf(data, path.name))


def listed(path: Path) -> tuple[list[str], list[str]]:
    code = read(path)
    assert isinstance(code, GpuCode), code
    return [str(arch) for arch in code.sass], [str(arch) for arch in code.ptx]


def test_chains_entries_and_suffixes(tmp_path: Path) -> None:
    first = chain(entry(SASS, 80), entry(SASS, 90, SPECIFIC | 0x8011), entry(PTX, 90))
    second = chain(entry(SASS, 100, FAMILY | 0x1000011, header=112), entry(SASS, 80), entry(LTO, 75))
    path = with_section(tmp_path / "gpu.so", first + b"\0" * (-len(first) % 8) + second)
    assert listed(path) == (["8.0", "9.0a", "10.0f"], ["9.0"])


def test_no_gpu_code_is_absent(tmp_path: Path) -> None:
    assert isinstance(read(shared(tmp_path / "cpu.so")), Absent)


@pytest.mark.parametrize("cut", [24, 60, 100, 150])
def test_a_chain_that_is_cut_is_unknown_never_shorter(tmp_path: Path, cut: int) -> None:
    path = with_section(tmp_path / "cut.so", chain(entry(SASS, 80), entry(SASS, 90))[:cut])
    assert isinstance(read(path), Unknown)


def test_a_suffix_that_cannot_be_read(tmp_path: Path) -> None:
    path = with_section(tmp_path / "old.so", chain(entry(SASS, 90, header=40)))
    assert listed(path) == (["9.0?"], [])
    both = with_section(tmp_path / "both.so", chain(entry(SASS, 90, SPECIFIC | FAMILY)))
    assert listed(both) == (["9.0?"], [])


def test_without_section_headers_the_chains_are_searched_for(tmp_path: Path) -> None:
    path = with_section(tmp_path / "gpu.so", chain(entry(SASS, 80), entry(PTX, 120)))
    data = bytearray(path.read_bytes())
    data[0x28:0x30] = bytes(8)  # e_shoff
    data[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    path.write_bytes(data)
    assert listed(path) == (["8.0"], ["12.0"])


def test_a_gigabyte_is_hopped_not_read(tmp_path: Path) -> None:
    """A sparse file whose section header spans 1 GB: 2,000 entries of half a megabyte, in 0.1 s once in memory."""
    path = with_section(tmp_path / "big.so", chain(entry(SASS, 80)))
    size, parts = 1 << 30, 2000
    with path.open("r+b") as file:
        data = bytearray(file.read())
        with mapped(path) as view:
            elf = Elf(view, path.name)
            names = [section.name for section in elf.sections]
        (table,) = struct.unpack_from("<Q", data, 0x28)
        start = 1 << 20
        struct.pack_into("<QQ", data, table + 64 * names.index(".nv_fatbin") + 24, start, size)
        file.seek(0)
        file.write(data)
        each = (size - 4096) // parts // 8 * 8
        file.seek(start)
        file.write(struct.pack("<IHHQ", 0xBA55ED50, 1, 16, each * parts))
        for part in range(parts):
            file.seek(start + 16 + part * each)
            file.write(
                struct.pack("<HHIQ", SASS, 0x101, 64, each - 64).ljust(28, b"\0")
                + struct.pack("<I", 80 + part % 2 * 10)
            )
        file.truncate(start + size)
    assert listed(path) == (["8.0", "9.0"], [])
    with mapped(path) as whole:
        counting = CountingBuffer(whole)
        gpu_code(Elf(counting, path.name))
    assert counting.looked_at < 1 << 20


def test_hops_have_a_limit(tmp_path: Path) -> None:
    path = with_section(tmp_path / "bomb.so", chain(entry(SASS, 80, payload=b"", header=32) * ((1 << 18) + 8)))
    assert isinstance(read(path), Unknown)


@given(st.binary(max_size=400))
def test_any_bytes_in_the_section(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Rubbish behind a valid beginning gives a value; nothing is raised, nothing hangs."""
    folder = tmp_path_factory.getbasetemp() / "rubbish"
    folder.mkdir(exist_ok=True)
    base = folder / "base.so"
    if not base.exists():
        with_section(base, b"\xee" * 1024)
    data = base.read_bytes()
    at = data.index(b"\xee" * 1024)
    good = chain(entry(SASS, 80))
    mutant = (good + content).ljust(1024, b"\0")
    code = gpu_code(Elf(data[:at] + mutant + data[at + 1024 :], "mutant"))
    assert isinstance(code, Unknown) or (isinstance(code, GpuCode) and arch("8.0") in code.sass)


def arch(text: str) -> Arch:
    suffix = Suffix(text[-1]) if text[-1] in "af?" else Suffix.NONE
    major, minor = text.rstrip("af?").split(".")
    return Arch(capability=Capability(major=int(major), minor=int(minor)), suffix=suffix)


@pytest.mark.parametrize(
    ("sass", "ptx", "gpu", "verdict"),
    [
        ("8.0", "", "8.0", "yes"),
        ("8.0", "", "8.6", "yes"),
        ("8.0", "", "8.9", "yes"),
        ("8.6", "", "8.0", "no"),
        ("8.0", "", "9.0", "no"),
        ("8.0", "", "8.7", "no"),  # Tegra wants its own
        ("8.7", "", "8.9", "no"),
        ("8.7", "", "8.7", "yes"),
        ("7.0", "", "7.2", "no"),
        ("7.0", "", "7.5", "yes"),
        ("9.0a", "", "9.0", "yes"),
        ("9.0a", "", "10.0", "no"),
        ("10.0a", "", "10.3", "no"),
        ("10.0f", "", "10.3", "yes"),
        ("10.0f", "", "12.0", "no"),
        ("10.3f", "", "10.0", "no"),
        ("12.0", "", "12.1", "yes"),
        ("10.0", "", "10.3", "yes"),
        ("10.0?", "", "10.3", "unknown"),
        ("10.0?", "", "10.0", "yes"),
        ("9.0?", "", "10.0", "no"),
        ("", "8.0", "12.0", "yes"),
        ("", "8.0", "8.7", "yes"),
        ("", "9.0", "8.9", "no"),
        ("", "9.0a", "10.0", "no"),
        ("", "9.0a", "9.0", "yes"),
        ("", "10.0f", "10.3", "yes"),
        ("", "10.0f", "12.0", "no"),
        ("", "9.0?", "10.0", "unknown"),
        ("8.0 9.0a", "9.0", "12.0", "yes"),
        ("7.5 8.0", "", "6.1", "no"),
    ],
)
def test_who_runs_what(sass: str, ptx: str, gpu: str, verdict: str) -> None:
    code = GpuCode(sass=tuple(map(arch, sass.split())), ptx=tuple(map(arch, ptx.split())))
    runs = code.runs_on(arch(gpu).capability, TEGRA)
    assert runs.verdict is Runnable(verdict)
    assert runs.why


NVCC = shutil.which("nvcc")
KERNEL = "__global__ void k(float *x) { x[threadIdx.x] *= 2; }"


def compiled_for(folder: Path, *options: str) -> tuple[list[str], list[str]]:
    assert NVCC is not None
    source, fatbin = folder / "kernel.cu", folder / "kernel.fatbin"
    source.write_text(KERNEL)
    subprocess.run([NVCC, "-fatbin", *options, str(source), "-o", str(fatbin)], check=True, capture_output=True)
    return listed(with_section(folder / "kernel.so", fatbin.read_bytes()))


def targets(*pairs: str) -> list[str]:
    return [f"-gencode=arch={pair.split('>')[0]},code={pair.split('>')[1]}" for pair in pairs]


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed here")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (targets("compute_80>sm_80", "compute_90a>sm_90a", "compute_120>compute_120"), (["8.0", "9.0a"], ["12.0"])),
        (targets("compute_100f>sm_100f", "compute_103a>sm_103a"), (["10.0f", "10.3a"], [])),
        (targets("compute_90a>compute_90a", "compute_120f>compute_120f"), ([], ["9.0a", "12.0f"])),
        ([*targets("compute_100>sm_100", "compute_90a>sm_90a"), "--no-compress"], (["9.0a", "10.0"], [])),
        ([*targets("compute_90a>sm_90a", "compute_90>compute_90"), "-Xfatbin=-compress-all"], (["9.0a"], ["9.0"])),
        ([*targets("compute_87>sm_87", "compute_100f>lto_100f"), "-rdc=true"], (["8.7"], [])),
    ],
)
def test_what_nvcc_writes(tmp_path: Path, options: list[str], expected: tuple[list[str], list[str]]) -> None:
    assert compiled_for(tmp_path, *options) == expected
