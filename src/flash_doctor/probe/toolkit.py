"""What a source build would use: every nvcc in the order of torch's extension builder, host compiler, ninja."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from flash_doctor.errors import CommandFailed
from flash_doctor.model import Absent, Part, Tool, Toolchain, Toolkit, Unknown
from flash_doctor.probe.files import exists, names_in, version_in
from flash_doctor.system.bounds import read_json
from flash_doctor.system.paths import find_program
from flash_doctor.system.process import Command, Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner

_LIMIT = 5.0
_RELEASE = re.compile(r"release \d+\.\d+, V(\d+(?:\.\d+)+)")
_PIP_NVCC = re.compile(r"nvidia_cuda_nvcc(?:_cu\d+)?-([\w.]+)\.dist-info")
_CONDA_NVCC = re.compile(r"cuda-nvcc(?:_linux-\w+)?-(\d[\w.]*)-[^-]+\.json")
_NINJA = re.compile(r"ninja-([\w.]+)\.dist-info")
_NUMBER = re.compile(r"\d+(?:\.\d+)+")
_CLANG = re.compile(r"clang version (\d+(?:\.\d+)+)")
# "g++ (Debian 12.2.0-14) 12.2.0": the packager's number stands in brackets, gcc's own behind
_GCC = re.compile(r"^\S+ \(.*?\) (\d+(?:\.\d+)*)")


def read_toolchain(
    site_packages: tuple[Path, ...], headers: Part[Path], runner: Runner, root: Path = Path("/")
) -> Part[Toolchain]:
    """The tools of a build. Versions come from files where they can; the rest is asked side by side.

    A CUDA_HOME without an nvcc in it is listed too, with its version Absent: torch would use it and fail.
    """
    pending = [_ask_toolkit(nvcc, origin, site_packages, runner) for nvcc, origin in _candidates(site_packages, root)]
    compiler = _ask_compiler(runner)
    ninja = _ask_ninja(site_packages, runner)
    return Toolchain(
        toolkits=tuple(toolkit.finish() for toolkit in pending),
        compiler=compiler if isinstance(compiler, (Absent, Unknown)) else compiler.finish(),
        ninja=ninja if isinstance(ninja, (Absent, Unknown)) else ninja.finish(),
        python_headers=headers,
    )


def _candidates(site_packages: tuple[Path, ...], root: Path) -> Iterator[tuple[Path, str]]:
    """Each nvcc once, with the first way it is reached by."""
    seen: set[str] = set()
    for nvcc, origin in _places(site_packages, root):
        real = os.path.realpath(nvcc)
        if real not in seen and (origin == "CUDA_HOME" or os.access(nvcc, os.X_OK)):
            seen.add(real)
            yield nvcc, origin


def _places(site_packages: tuple[Path, ...], root: Path) -> Iterator[tuple[Path, str]]:
    """Torch takes CUDA_HOME or CUDA_PATH, then PATH's nvcc, then /usr/local/cuda; the others it never finds alone."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        yield Path(home) / "bin/nvcc", "CUDA_HOME"
    if on_path := find_program("nvcc"):
        yield on_path, "PATH"
    local = root / "usr/local"
    for name in (name for name in names_in(local) if name.startswith("cuda")):
        yield local / name / "bin/nvcc", f"/usr/local/{name}"
    for folder in site_packages:
        for name in names_in(folder / "nvidia"):
            yield folder / "nvidia" / name / "bin/nvcc", "pip"
    for prefix in filter(None, [os.environ.get("CONDA_PREFIX"), *map(_prefix, site_packages)]):
        if exists(Path(prefix) / "conda-meta"):
            yield Path(prefix) / "bin/nvcc", "conda"


def _prefix(site_packages: Path) -> str:
    """…/lib/python3.12/site-packages lies three folders below the prefix."""
    return str(site_packages.parents[2]) if len(site_packages.parts) > 3 else ""


class _Question(NamedTuple):
    """A program's own word for its version, still under way, or the version from a file beside it."""

    answer: Running | Part[Version]
    pattern: re.Pattern[str]

    def finish(self) -> Part[Version]:
        if isinstance(self.answer, (Version, Absent, Unknown)):
            return self.answer
        try:
            done = self.answer.wait()
        except CommandFailed as failed:
            return Unknown(unknown=failed.message)
        return version_in(done.text + done.errors, self.pattern)


def _ask(argv: tuple[str, ...], runner: Runner, pattern: re.Pattern[str]) -> _Question:
    try:
        return _Question(answer=runner.start(Command(argv=argv, timeout=_LIMIT, limit=65536)), pattern=pattern)
    except CommandFailed as failed:
        return _Question(answer=Unknown(unknown=failed.message), pattern=pattern)


class _PendingToolkit(NamedTuple):
    nvcc: Path
    origin: str
    version: _Question

    def finish(self) -> Toolkit:
        return Toolkit(nvcc=self.nvcc, origin=self.origin, version=self.version.finish())


def _ask_toolkit(nvcc: Path, origin: str, site_packages: tuple[Path, ...], runner: Runner) -> _PendingToolkit:
    if not exists(nvcc):
        answer: Part[Version] = Absent(absent=f"{nvcc} does not exist, so a build with this CUDA_HOME fails")
    else:
        answer = _written_version(nvcc, origin, site_packages)
    question = _Question(answer=answer, pattern=_RELEASE)
    if isinstance(answer, Unknown):
        question = _ask((str(nvcc), "--version"), runner, _RELEASE)
    return _PendingToolkit(nvcc=nvcc, origin=origin, version=question)


def _written_version(nvcc: Path, origin: str, site_packages: tuple[Path, ...]) -> Part[Version]:
    """From version.json of NVIDIA's installers, pip's folder names or conda's records; starting nvcc costs more."""
    home = Path(os.path.realpath(nvcc)).parents[1]
    if origin == "pip":
        return _in_names([folder for folder in site_packages if folder in nvcc.parents], _PIP_NVCC)
    if exists(home / "conda-meta"):
        return _in_names([home / "conda-meta"], _CONDA_NVCC)
    try:
        return _accept(read_json(home / "version.json"))
    except (OSError, ValueError, KeyError, TypeError):
        return Unknown(unknown="no file beside nvcc tells its version")


def _accept(claim: Claimed[Any]) -> Part[Version]:
    return version_in(str(claim.unproved()["cuda_nvcc"]["version"]))


def _in_names(folders: list[Path], pattern: re.Pattern[str]) -> Part[Version]:
    for folder in folders:
        for name in names_in(folder):
            if pattern.fullmatch(name):
                return version_in(name, pattern)
    return Unknown(unknown="no file beside nvcc tells its version")


class _PendingTool(NamedTuple):
    path: Path
    name: str
    version: _Question

    def finish(self) -> Tool:
        return Tool(path=self.path, name=self.name, version=self.version.finish())


class _PendingCompiler(NamedTuple):
    """gcc or clang, whatever it is called: `c++` and CXX tell only when asked."""

    path: Path
    said: Running

    def finish(self) -> Part[Tool]:
        try:
            text = self.said.wait().text
        except CommandFailed as failed:
            return Unknown(unknown=failed.message)
        clang = bool(_CLANG.search(text))
        name, pattern = ("clang", _CLANG) if clang else ("gcc", _GCC)
        return Tool(path=self.path, name=name, version=version_in(text, pattern))


def _ask_compiler(runner: Runner) -> _PendingCompiler | Absent | Unknown:
    """CXX, else CC, else g++ or c++ on PATH; a variable that names nothing is not passed over, as builds do not."""
    chosen = os.environ.get("CXX") or os.environ.get("CC")
    try:
        words = shlex.split(chosen or "")
    except ValueError as error:
        return Unknown(unknown=f"CXX or CC cannot be read ({chosen}): {error}")
    if not words:
        words = [next((name for name in ("g++", "c++") if find_program(name)), "g++")]
    path = find_program(words[0])
    if path is None:
        return Absent(absent=f"{words[0]} is not on PATH" + (" (named by CXX or CC)" if chosen else ""))
    try:
        said = runner.start(Command(argv=(str(path), *words[1:], "--version"), timeout=_LIMIT, limit=65536))
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)
    return _PendingCompiler(path=path, said=said)


def _ask_ninja(site_packages: tuple[Path, ...], runner: Runner) -> _PendingTool | Absent:
    """On PATH, or beside the target's interpreter; pip's tells its version by its metadata."""
    bins = [f"{_prefix(folder)}/bin" for folder in site_packages]
    found = find_program("ninja") or find_program("ninja", os.pathsep.join(bins))
    if found is None:
        return Absent(absent="ninja is neither on PATH nor beside the target's python")
    of_target = [folder for folder in site_packages if found.parent == Path(_prefix(folder), "bin")]
    written = _in_names(of_target, _NINJA)
    version = _Question(answer=written, pattern=_NUMBER)
    if isinstance(written, Unknown):
        version = _ask((str(found), "--version"), runner, _NUMBER)
    return _PendingTool(path=found, name="ninja", version=version)
