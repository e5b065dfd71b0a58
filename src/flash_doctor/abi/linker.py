"""The loader's verdict on one extension, as a value."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.abi.buffer import mapped
from flash_doctor.abi.elf import Elf
from flash_doctor.abi.search import LoaderSettings, folders, split_path
from flash_doctor.abi.symbols import WantedSymbol, exports, wanted_symbols
from flash_doctor.errors import BadBinary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_doctor.abi.buffer import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingLibrary:
    """A library that no searched place has; `searched` are the folders, in their order."""

    name: str
    wanted_by: str
    searched: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVersion:
    """A symbol version that the library that was found does not define: most often a glibc that is too old."""

    version: str
    library: str
    path: Path
    wanted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A symbol that nothing in the scope exports."""

    symbol: str
    version: str | None
    wanted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLibrary:
    """A library that was found and cannot be loaded."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkage:
    """The loader's verdict. With a library missing, its symbols are among the unresolved ones."""

    missing_libraries: tuple[MissingLibrary, ...]
    missing_versions: tuple[MissingVersion, ...]
    unresolved: tuple[Unresolved, ...]
    broken: tuple[BrokenLibrary, ...]
    libraries: tuple[Resolved, ...]

    @property
    def loads(self) -> bool:
        return not (self.missing_libraries or self.missing_versions or self.unresolved or self.broken)


_GLOBAL_DEPS = "libtorch_global_deps.so"


@dataclass(eq=False)
class _Object:
    """A file in the process: the names it answers to, and who asked for it."""

    path: Path
    file: Elf
    loader: _Object | None
    names: set[str] = field(default_factory=set)
    wanted: tuple[WantedSymbol, ...] | None = None

    @property
    def ancestry(self) -> Iterator[_Object]:
        link: _Object | None = self
        while link is not None:
            yield link
            link = link.loader

    def answers_to(self, name: str) -> bool:
        return name in self.names or name == self.file.soname

    @property
    def origin(self) -> Path:
        return self.path.parent


def link(
    extension: Path,
    python: Path,
    torch_lib: Path | None,
    environ: Mapping[str, str],
    *,
    overlay: Mapping[Path, Buffer] | None = None,
) -> Linkage:
    """The verdict on one extension in one interpreter.

    Args:
        extension: the shared object that is imported.
        python: the interpreter; a venv's link is followed, as the kernel does.
        torch_lib: torch's lib folder when torch is imported first, else None.
        environ: LD_LIBRARY_PATH and LD_PRELOAD count.
        overlay: files that are taken to lie at these absolute paths, though they are still in a wheel.

    Raises:
        BadBinary: the extension or the interpreter is no readable ELF file.
    """
    with open_linker(python, torch_lib, environ, overlay=overlay) as linker:
        return linker.link(extension)


@contextmanager
def open_linker(
    python: Path,
    torch_lib: Path | None,
    environ: Mapping[str, str],
    *,
    overlay: Mapping[Path, Buffer] | None = None,
) -> Iterator[Linker]:
    """The same for many extensions, each as if it were the only one: the interpreter and torch are read once."""
    with ExitStack() as stack:
        linker = Linker(stack, python.resolve(), environ, overlay or {})
        if torch_lib is not None:
            linker.import_torch(torch_lib)
        yield linker


class Linker:
    """A Python process as the loader knows it; nothing in it runs."""

    def __init__(
        self, stack: ExitStack, python: Path, environ: Mapping[str, str], overlay: Mapping[Path, Buffer]
    ) -> None:
        self.stack, self.environ, self.overlay = stack, environ, overlay
        self.objects: list[_Object] = []
        self.identities: dict[object, _Object] = {}
        self.missing: dict[str, MissingLibrary] = {}
        self.broken: dict[Path, BrokenLibrary] = {}
        self.servers: dict[WantedSymbol, _Object | None] = {}
        self.main = self._add(python, None)
        self.system = LoaderSettings.of(self.main.file.machine, self.main.file.interpreter)
        if "ld-musl" in (self.main.file.interpreter or ""):
            message = f"{python} uses musl's loader; only glibc's is known here"
            raise BadBinary(message)
        preload = [library for name in self._preloaded() if (library := self._find(name, self.main))]
        self.scope = self.closure(self.main, *preload)
        # dlopen is called by libpython where that is a library of its own; its RPATH is then inherited
        self.caller = next((found for found in self.scope if "libpython" in found.path.name), self.main)

    def _preloaded(self) -> list[str]:
        return self.environ.get("LD_PRELOAD", "").replace(":", " ").split()

    def _add(self, path: Path, loader: _Object | None) -> _Object:
        """Map a file, or give the object that the same file already is."""
        identity = self._identity(path)
        if identity not in self.identities:
            file = Elf(self.overlay.get(path) or self.stack.enter_context(mapped(path)), path.name)
            # what the loader reads first: a fault shows here, before the file counts as loaded
            _ = file.needed, file.soname, file.rpath, file.runpath, file.segments
            self.identities[identity] = _Object(path, file, loader)
            self.objects.append(self.identities[identity])
        return self.identities[identity]

    def _identity(self, path: Path) -> object:
        """What two paths of the same file have in common."""
        if path in self.overlay:
            return path
        try:
            stat = path.stat()
        except OSError as error:
            message = f"{path} could not be read: {error.strerror}"
            raise BadBinary(message) from error
        return stat.st_dev, stat.st_ino

    def import_torch(self, torch_lib: Path) -> None:
        """`import torch`: its global dependencies for everyone, torch/_C and its closure for itself."""
        deps = torch_lib / _GLOBAL_DEPS
        if deps.exists():
            self._preload_cuda(deps, torch_lib.parents[1])
            self.scope += [found for found in self.closure(self._add(deps, self.caller)) if found not in self.scope]
        for core in sorted(torch_lib.parent.glob("_C.*.so"))[:1]:
            self.closure(self._add(core, self.caller))

    def _preload_cuda(self, deps: Path, site: Path) -> None:
        """Torch itself loads CUDA's libraries from the nvidia packages beside it where the loader finds none."""
        for name in Elf(self.stack.enter_context(mapped(deps)), deps.name).needed:
            places = sorted(site.glob(f"nvidia/*/lib/{name}")) if self._is_cuda(name, deps) else []
            for path in places[:1]:
                self.closure(self._add(path, self.caller))

    def _is_cuda(self, name: str, deps: Path) -> bool:
        """Whether the loader alone would not find it: neither beside torch nor in the system."""
        known = any(found.answers_to(name) for found in self.objects)
        return not known and not (deps.parent / name).exists() and name not in self.system.cache

    def closure(self, *roots: _Object) -> list[_Object]:
        """The objects and what they need, breadth first, each once; what is missing is noted."""
        queue = list(dict.fromkeys(roots))
        for each in queue:
            for name in each.file.needed:
                found = self._find(name, each)
                if found is not None and found not in queue:
                    queue.append(found)
        return queue

    def _find(self, name: str, loader: _Object) -> _Object | None:
        name = self.system.expand(name, loader.origin) if "$" in name else name
        for each in self.objects:
            if each.answers_to(name):
                each.names.add(name)
                return each
        candidates = [Path(name)] if "/" in name else self._places(name, loader)
        searched: list[Path] = []
        for place in candidates:
            path = self._overlaid(place)
            if self._is_for_us(path):
                return self._map(path, name, loader)
            searched.append(path.parent)
        self.missing.setdefault(
            name,
            MissingLibrary(name=name, wanted_by=loader.path.name, searched=tuple(dict.fromkeys(searched))),
        )
        return None

    def _map(self, path: Path, name: str, loader: _Object) -> _Object | None:
        try:
            found = self._add(path, loader)
        except BadBinary as error:
            self.broken[path] = BrokenLibrary(path=path, why=error.message)
            return None
        found.names.add(name)
        return found

    def _overlaid(self, path: Path) -> Path:
        """The overlay's own name of a path like $ORIGIN/../lib; any other path as it is."""
        tidy = Path(os.path.normpath(path))
        return tidy if tidy in self.overlay else path

    def _is_for_us(self, path: Path) -> bool:
        """The loader passes over files it may not open and those of another class or machine."""
        if path in self.overlay:
            return True
        if not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                head = file.read(20)
        except OSError:
            return False
        main = self.main.file.data[0:20]
        return head[:4] != main[:4] or len(head) < 20 or (head[4:6], head[18:20]) == (main[4:6], main[18:20])

    def _places(self, name: str, loader: _Object) -> Iterator[Path]:
        for folder in self._folders(loader):
            yield from self.system.within(folder, name)
        use_defaults = not loader.file.ignores_defaults
        cached = self.system.cache.get(name)
        if cached is not None and (use_defaults or not self.system.is_builtin(cached)):
            yield cached
        if use_defaults:
            for folder in self.system.folders:
                yield from self.system.within(folder, name)

    def _folders(self, loader: _Object) -> Iterator[Path]:
        """RPATH of the one that asks and of those that asked for it, LD_LIBRARY_PATH, its own RUNPATH."""
        if not loader.file.runpath:
            for each in dict.fromkeys([*loader.ancestry, self.main]):
                yield from folders(each.file.rpath, self.system, each.origin)
        yield from folders(split_path(self.environ.get("LD_LIBRARY_PATH", "")), self.system, self.main.origin)
        yield from folders(loader.file.runpath, self.system, loader.origin)

    def link(self, extension: Path, wanted: tuple[WantedSymbol, ...] | None = None) -> Linkage:
        """The verdict on one extension; the process is afterwards as it was.

        `wanted` are the symbols that it wants, where they were read already.

        Raises:
            BadBinary: the extension, or the symbol table of a library that it needs, is damaged.
        """
        objects, identities, names = list(self.objects), dict(self.identities), [set(o.names) for o in self.objects]
        self.missing.clear()
        self.broken.clear()
        try:
            return self._verdict(extension, objects, wanted)
        finally:
            self.objects, self.identities = objects, identities
            for each, before in zip(objects, names, strict=True):
                each.names = before

    def _verdict(self, extension: Path, before: list[_Object], wanted: tuple[WantedSymbol, ...] | None) -> Linkage:
        root = self._add(extension.absolute(), self.caller)
        root.wanted = wanted
        if root.file.machine != self.main.file.machine:
            why = f"it is for {root.file.machine}, the interpreter for {self.main.file.machine}"
            self.broken[root.path] = BrokenLibrary(path=root.path, why=why)
        scope = self.closure(root)
        # asked about a part of torch itself, what `import torch` loads is what is in question
        asked = root in before
        fresh = [found for found in scope if (asked or found not in before) and found.path not in self.broken]
        return Linkage(
            missing_libraries=tuple(self.missing.values()),
            missing_versions=tuple(missing for found in fresh for missing in self._missing_versions(found, scope)),
            unresolved=tuple(self._unresolved(fresh, scope)),
            broken=tuple(self.broken.values()),
            libraries=tuple(Resolved(name=found.file.soname or found.path.name, path=found.path) for found in scope),
        )

    def _missing_versions(self, wanting: _Object, scope: list[_Object]) -> Iterator[MissingVersion]:
        for need in wanting.file.version_needs:
            found = next((each for each in (*scope, *self.objects) if each.answers_to(need.library)), None)
            defined = found.file.version_definitions.values() if found else ()
            # a library without any versions is taken with a warning
            if found and not need.weak and defined and need.version not in defined:
                yield MissingVersion(
                    version=need.version, library=need.library, path=found.path, wanted_by=wanting.path.name
                )

    def _unresolved(self, fresh: list[_Object], scope: list[_Object]) -> Iterator[Unresolved]:
        """Python loads extensions with RTLD_NOW: every symbol of every file that comes in is looked up."""
        everything = dict.fromkeys([*self.scope, *scope])
        for wanting in fresh:
            for wanted in wanting.wanted or wanted_symbols(wanting.file):
                if not self._served(wanted, everything):
                    yield Unresolved(symbol=wanted.name, version=wanted.version, wanted_by=wanting.path.name)

    def _served(self, wanted: WantedSymbol, everything: Mapping[_Object, None]) -> bool:
        """Whether any of them exports it: most often the one that did for the extension before."""
        if self.servers.get(wanted) not in everything:
            self.servers[wanted] = next((found for found in everything if exports(found.file, wanted)), None)
        return self.servers[wanted] is not None
