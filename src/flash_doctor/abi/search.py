"""Where the loader looks for a library: folders in their order, `$ORIGIN` and its kin, CPU levels, the cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.abi.ldcache import read_cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")
# What a CPU must have for each level, in /proc/cpuinfo's words (x86-64 psABI, "micro-architecture levels")
_LEVELS = (
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


@dataclass(frozen=True)
class System:
    """The loader's own settings: the machine, its cache, its built-in folders, the CPU's levels (best first)."""

    machine: str
    lib: str
    folders: tuple[Path, ...]
    hwcaps: tuple[str, ...]
    cache_file: Path

    @classmethod
    def of(cls, machine: str, interpreter: str | None) -> System:
        """This machine's settings, for a program with that loader (PT_INTERP)."""
        triplet = f"lib/{machine}-linux-gnu"
        multiarch = interpreter is not None and triplet in str(Path(interpreter).resolve())
        names = (triplet, "lib64", "lib") if multiarch else ("lib64", "lib", triplet)
        return cls(
            machine=machine,
            lib=triplet if multiarch else "lib64",
            folders=tuple(Path(root) / name for name in names for root in ("/", "/usr")),
            hwcaps=cpu_levels(Path("/proc/cpuinfo")) if machine == "x86_64" else (),
            cache_file=Path("/etc/ld.so.cache"),
        )

    @cached_property
    def cache(self) -> dict[str, Path]:
        return read_cache(self.cache_file, self.machine, self.hwcaps)

    def is_builtin(self, path: Path) -> bool:
        return path.parent in self.folders

    def expand(self, text: str, origin: Path) -> str:
        """A path with `$ORIGIN` (folder of the file that names it), `$LIB` and `$PLATFORM` filled in."""
        values = {"ORIGIN": str(origin), "LIB": self.lib, "PLATFORM": self.machine}
        return _TOKEN.sub(lambda match: values[match[1] or match[2]], text)

    def within(self, folder: Path, name: str) -> Iterator[Path]:
        """The places of a library in one folder: those for this CPU's levels first."""
        levels = folder / "glibc-hwcaps"
        if self.hwcaps and levels.is_dir():
            yield from (levels / level / name for level in self.hwcaps)
        yield folder / name


def cpu_levels(cpuinfo: Path) -> tuple[str, ...]:
    """The x86-64 levels that this CPU reaches, best first; none where it cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    reached: list[str] = []
    for name, wanted in _LEVELS:
        if not wanted <= flags:
            break
        reached.insert(0, name)
    return tuple(reached)


def folders(paths: Sequence[str], system: System, origin: Path) -> Iterator[Path]:
    """Folders of a search path; an empty element is the working directory."""
    return (Path(system.expand(path, origin) or ".") for path in paths)


def split_path(value: str) -> tuple[str, ...]:
    """The elements of LD_LIBRARY_PATH, which may be parted by colons and semicolons."""
    return tuple(re.split("[:;]", value)) if value else ()
