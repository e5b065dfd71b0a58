"""The dynamic loader's view: LD_LIBRARY_PATH, LD_PRELOAD, and which file a soname would be taken from."""

from __future__ import annotations

import os
import re
import struct
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, LoaderLibrary, LoaderPath, Part
from flash_doctor.probe.files import exists

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Libraries of which torch brings its own copy, or that decide between two C++ runtimes.
_FAMILY = re.compile(
    r"(lib(?:cuda|cudart|cublas|cublasLt|cudnn\w*|cufft|cufftw|cufile|cupti|curand|cusolver|cusolverMg|cusparse"
    r"|cusparseLt|nccl|nvJitLink|nvrtc|nvrtc-builtins|nvToolsExt|nvshmem_host|stdc\+\+|gomp)\.so\.\d+)[\w.]*"
)
_MOST_ENTRIES = 20_000
_DEFAULTS = ("lib64", "usr/lib64", "lib", "usr/lib")
WSL_FOLDER = "usr/lib/wsl/lib"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"


def read_loader(environ: Mapping[str, str]) -> Part[LoaderPath]:
    """LD_LIBRARY_PATH and LD_PRELOAD with the CUDA family in those folders; Absent when neither is set."""
    directories = library_path(environ)
    preload = tuple(re.split(r"[\s:]+", environ.get("LD_PRELOAD", "").strip())) if environ.get("LD_PRELOAD") else ()
    if not directories and not preload:
        return Absent(absent="neither LD_LIBRARY_PATH nor LD_PRELOAD is set")
    libraries = [library for folder in directories for library in _family_in(folder)]
    return LoaderPath(directories=directories, preload=preload, libraries=tuple(libraries))


def library_path(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of LD_LIBRARY_PATH; an empty entry means the current one, as the loader has it."""
    value = environ.get("LD_LIBRARY_PATH", "")
    return tuple(dict.fromkeys(Path(entry or ".") for entry in re.split("[:;]", value))) if value else ()


def _family_in(folder: Path) -> list[LoaderLibrary]:
    """One entry a soname. No time limit: a folder that hangs here hangs every program's start before ours."""
    found: dict[str, Path] = {}
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MOST_ENTRIES)]
    except OSError:
        return []
    for name in sorted(names):
        match = _FAMILY.fullmatch(name)
        if match:
            found.setdefault(match[1], folder / name)
    return [LoaderLibrary(path=path, soname=soname) for soname, path in found.items()]


def locate(soname: str, environ: Mapping[str, str], root: Path = Path("/")) -> Path | None:
    """The file that the loader would take for a soname: LD_LIBRARY_PATH, ld.so.cache, the default folders.

    WSL keeps the driver's libraries in a folder of its own, looked at last.
    """
    candidates = [folder / soname for folder in library_path(environ)]
    candidates += [root / path.relative_to("/") for path in cached(soname, root)]
    candidates += [root / folder / soname for folder in (*_defaults(), WSL_FOLDER)]
    return next((path for path in candidates if exists(path)), None)


def compat_library(environ: Mapping[str, str], root: Path = Path("/")) -> Part[Path]:
    """The libcuda.so.1 that programs get, if it is one of a CUDA forward-compatibility package (…/compat/…)."""
    found = locate("libcuda.so.1", environ, root)
    if found is None:
        return Absent(absent="no libcuda.so.1 where the loader looks")
    if "compat" in found.parts or "compat" in Path(os.path.realpath(found)).parts:
        return found
    return Absent(absent=f"libcuda.so.1 comes from {found}")


def _defaults() -> list[str]:
    multiarch = f"{os.uname().machine}-linux-gnu"
    return [f"{folder}/{multiarch}" for folder in ("lib", "usr/lib")] + list(_DEFAULTS)


def cached(soname: str, root: Path = Path("/")) -> list[Path]:
    """The paths that ld.so.cache has for a soname, in its order (binary form of glibc 2.2 and newer)."""
    try:
        data = (root / "etc/ld.so.cache").read_bytes()
    except OSError:
        return []
    # older systems put the new form behind the old one; the offsets count from its own magic
    start = data.find(_CACHE_MAGIC)
    wanted = soname.encode()
    if start < 0 or wanted not in data:
        return []
    return [Path(os.fsdecode(path)) for name, path in _entries(data[start:]) if name == wanted and path[:1] == b"/"]


def _entries(cache: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(soname, path) of every entry: a 48-byte header, then 24 bytes each with two offsets into the strings."""
    if len(cache) < 48:
        return
    count = min(struct.unpack_from("<I", cache, 20)[0], (len(cache) - 48) // 24)
    for _, key, value, _, _ in struct.iter_unpack("<iIIIQ", cache[48 : 48 + 24 * count]):
        yield _string(cache, key), _string(cache, value)


def _string(data: bytes, offset: int) -> bytes:
    return data[offset : max(offset, data.find(b"\0", offset))]
