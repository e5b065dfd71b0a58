"""What scripts/dev/lock runs: writes the hashed locks in scripts/locks/, or compares them with pyproject.toml.

One lock an extra, each whole: what the program needs, what the extra adds, and what puts the checkout into its venv.
They hold for every Python that pyproject.toml admits, on x86_64 and aarch64, and name wheels only and no index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
RUN = "run"  # the lock of no extra
PIP = "pip"  # the lock of pip alone, which is brought up to date before it installs the others
GROUP = "set-up"
WIDEST = "dev"  # resolved first; the pins of the others follow it
NOT_LOCKED = {"fuzz"}  # has no wheel for the newest Pythons, and nothing that we run by itself needs it
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# of uv's settings only those that say where the index is: the others change what is chosen
_INDEX_SETTINGS = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_.*_(USERNAME|PASSWORD)|FIND_LINKS|OFFLINE|CACHE_DIR"
    r"|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|KEYRING_PROVIDER)"
)


@dataclass(frozen=True)
class Pin:
    """One requirement of a lock: its words, who asked for it (uv's note), and the rest of its lines."""

    requirement: Requirement
    asked_by: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The one version that it admits; empty where it admits several."""
        single = re.fullmatch(r"==([^*,]+)", str(self.requirement.specifier))
        return single[1] if single else ""

    @property
    def hashes(self) -> list[str]:
        """`sha256:...`, one a file."""
        return [found.removeprefix("--hash=") for line in self.lines for found in _HASH.findall(line)]

    def is_for(self, project: str) -> bool:
        """Does pyproject.toml itself ask for it?"""
        return any(who.startswith(f"{project} (") for who in self.asked_by)

    @property
    def file_set(self) -> tuple[str, ...]:
        """What can be installed by it."""
        return (self.name, self.version, *self.hashes)


class LockError(Exception):
    """A line that no lock of ours holds."""

    def __init__(self, line: str) -> None:
        super().__init__(f"a lock holds no such line: {line}")


def read_lock(text: str) -> list[Pin]:
    """The pins of a lock.

    Raises:
        LockError: a line is neither a requirement, nor a sha256, nor a comment; the lock could name an index with it.
    """
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("    ") and blocks:
            blocks[-1].append(line)
        elif line.strip() and not line.startswith("#"):
            blocks.append([line])
    return [_pin(block) for block in blocks]


def _pin(block: list[str]) -> Pin:
    head, *rest = block
    notes = [line.strip().lstrip("#").strip() for line in rest if line.strip().startswith("#")]
    for line in rest:
        if not line.strip().startswith("#") and not _HASH.fullmatch(line.strip().removesuffix(" \\")):
            raise LockError(line.strip())
    try:
        requirement = Requirement(head.removesuffix(" \\"))
    except InvalidRequirement as error:
        raise LockError(head) from error
    if requirement.url:
        raise LockError(head)
    asked = tuple(word.removeprefix("via").strip() for word in notes)
    return Pin(requirement, tuple(word for word in asked if word), tuple(block))


@dataclass(frozen=True)
class Project:
    """What pyproject.toml asks for."""

    table: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> Project:
        return cls(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        return canonicalize_name(self.table["project"]["name"])

    @property
    def pythons(self) -> str:
        return str(self.table["project"]["requires-python"])

    @property
    def oldest_python(self) -> str:
        return next(one.version for one in SpecifierSet(self.pythons) if one.operator == ">=")

    @property
    def extras(self) -> dict[str, list[str]]:
        return dict(self.table["project"].get("optional-dependencies", {}))

    @property
    def set_up(self) -> list[Requirement]:
        return [Requirement(line) for line in self.table["dependency-groups"][GROUP]]

    @property
    def backend(self) -> list[Requirement]:
        return [Requirement(line) for line in self.table["build-system"]["requires"]]

    def asked(self, extra: str) -> list[Requirement]:
        """What the lock of that extra must satisfy; an extra may bring another one of ours."""
        lines = self.extras[extra] if extra != RUN else self.table["project"]["dependencies"]
        found = self.set_up if extra == RUN else self.asked(RUN)
        for requirement in map(Requirement, lines):
            ours = canonicalize_name(requirement.name) == self.name
            found += [one for name in requirement.extras for one in self.asked(name)] if ours else [requirement]
        return found

    def locks(self) -> list[str]:
        """The names of the locks beside pip's, the widest first."""
        names = {RUN, *self.extras} - NOT_LOCKED
        return sorted(names, key=lambda name: (name != WIDEST, name))

    def command(self) -> str:
        return f"scripts/dev/lock (Python {self.pythons})"


def disagreements(root: Path) -> list[str]:
    """What is wrong between pyproject.toml and the locks, a sentence each; without any network."""
    project, folder = Project.read(root), root / "scripts" / "locks"
    found: list[str] = []
    pinned: dict[str, list[Pin]] = {}
    for name in [*project.locks(), PIP]:
        path = folder / f"{name}.txt"
        try:
            text = path.read_text(encoding="utf-8")
            pins = read_lock(text)
        except (OSError, UnicodeDecodeError, LockError) as error:
            found.append(f"{name}.txt: {error}")
            continue
        pinned[name] = pins
        found += [f"{name}.txt: {fault}" for fault in _faults(project, name, text, pins)]
    found += [
        f"{other.name}: not a lock that pyproject.toml asks for"
        for other in sorted(folder.iterdir() if folder.is_dir() else ())
        if other.name not in {f"{name}.txt" for name in [*project.locks(), PIP]}
    ]
    return found + _unequal(pinned) + _backend(project)


def _faults(project: Project, name: str, text: str, pins: list[Pin]) -> list[str]:
    """Faults of one lock by itself."""
    found = [f"{pin.requirement} is no single version" for pin in pins if not pin.version]
    found += [f"{pin.requirement} has no hash" for pin in pins if not pin.hashes]
    found += ["it names an address"] if "://" in text else []
    if f"#    {project.command()}\n" not in text:
        found.append(f"it was not made by {project.command()}")
    return found + (_pip_alone(project, pins) if name == PIP else _unmet(project, name, pins))


def _unmet(project: Project, name: str, pins: list[Pin]) -> list[str]:
    asked = project.asked(name)
    found = []
    for requirement in asked:
        held = [pin for pin in pins if pin.name == canonicalize_name(requirement.name)]
        if not held:
            found.append(f"pyproject.toml asks for {requirement}, and it is not there")
        found += [
            f"pyproject.toml asks for {requirement}, and {pin.requirement} is there"
            for pin in held
            if not requirement.specifier.contains(pin.version or "0", prereleases=True)
        ]
    names = {canonicalize_name(requirement.name) for requirement in asked}
    return found + [
        f"{pin.requirement} is there for pyproject.toml, which does not ask for it"
        for pin in pins
        if pin.name not in names and pin.is_for(project.name)
    ]


def _pip_alone(project: Project, pins: list[Pin]) -> list[str]:
    wanted = [requirement for requirement in project.set_up if requirement.name == PIP]
    if [pin.name for pin in pins] != [PIP] or not all(one.specifier.contains(pins[0].version or "0") for one in wanted):
        return [f"it is to hold {', '.join(map(str, wanted))} and nothing else"]
    return []


def _unequal(pinned: dict[str, list[Pin]]) -> list[str]:
    """Pins, or their hashes, that differ from the widest lock's: two extras would fight over one venv."""
    widest = pinned.get(WIDEST, [])
    names, held = {pin.name for pin in widest}, {pin.file_set for pin in widest}
    return [
        f"{lock}.txt: {pin.requirement} is not what {WIDEST}.txt holds"
        for lock, pins in pinned.items()
        for pin in pins
        if pin.name in names and pin.file_set not in held
    ]


def _backend(project: Project) -> list[str]:
    """The build backend is installed from the lock, not by pip: the group must ask for the same."""
    set_up = set(map(str, project.set_up))
    return [
        f"pyproject.toml: [build-system] requires {requirement}, [dependency-groups] {GROUP} does not"
        for requirement in project.backend
        if str(requirement) not in set_up
    ]


def write(root: Path, *, upgrade: bool) -> None:
    """Bring every lock up to date, all or none; needs the index."""
    project, folder = Project.read(root), root / "scripts" / "locks"
    with tempfile.TemporaryDirectory(prefix="flash-doctor-lock-") as scratch:
        made = Path(scratch)
        for name in project.locks():
            known = folder / f"{name}.txt" if name == WIDEST else made / f"{WIDEST}.txt"
            if known.exists() and not (upgrade and name == WIDEST):
                shutil.copyfile(known, made / f"{name}.txt")
            _compile(root, project, name, made / f"{name}.txt")
        widest = _read(made, WIDEST)
        head = (made / f"{WIDEST}.txt").read_text(encoding="utf-8").splitlines()[:2]
        pip = [line for pin in widest if pin.name == PIP for line in pin.lines]
        (made / f"{PIP}.txt").write_text("\n".join([*head, *pip, ""]), encoding="utf-8")
        for name in project.locks():
            mine = {pin.file_set for pin in _read(made, name)}
            if name == WIDEST or not mine <= {pin.file_set for pin in widest}:
                _wheels_are_there(made / f"{name}.txt", folder / f"{name}.txt")
        folder.mkdir(exist_ok=True)
        for name in [*project.locks(), PIP]:
            shutil.copyfile(made / f"{name}.txt", folder / f"{name}.txt")


def _read(folder: Path, name: str) -> list[Pin]:
    return read_lock((folder / f"{name}.txt").read_text(encoding="utf-8"))


def _compile(root: Path, project: Project, name: str, output: Path) -> None:
    options = ["--universal", "--python-version", project.oldest_python, "--generate-hashes", "--no-emit-index-url"]
    options += ["--only-binary", ":all:", "--group", GROUP, "--custom-compile-command", project.command()]
    options += [] if name == RUN else ["--extra", name]
    _uv(root, "pip", "compile", *options, "--output-file", str(output), "pyproject.toml")


def _wheels_are_there(lock: Path, before: Path) -> None:
    """Every Python and machine finds a wheel with one of the hashes of each pin; asked when something has changed."""
    if before.exists() and before.read_bytes() == lock.read_bytes():
        return
    with tempfile.TemporaryDirectory(prefix="flash-doctor-lock-") as empty:
        for python in PYTHONS:
            for platform in PLATFORMS:
                options = ["--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", empty]
                options += ["--python-version", python, "--python-platform", platform, "--requirement", str(lock)]
                _uv(lock.parent, "pip", "install", *options)


def _uv(folder: Path, *arguments: str) -> None:
    """Run the dev venv's uv.

    Raises:
        SystemExit: uv failed, with its words.
    """
    from uv import find_uv_bin

    kept = {key: value for key, value in os.environ.items() if key[:3] != "UV_" or _INDEX_SETTINGS.fullmatch(key)}
    argv = [find_uv_bin(), *arguments, "--quiet", "--no-config", "--no-python-downloads", "--no-progress"]
    done = subprocess.run(argv, cwd=folder, env=kept, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}lock: uv could not do it: uv {' '.join(arguments)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/dev/lock", description="The hashed locks in scripts/locks/.")
    parser.add_argument("--check", action="store_true", help="compare with pyproject.toml, without network")
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.root, upgrade=arguments.upgrade)
    found = disagreements(arguments.root)
    for sentence in found:
        print(f"lock: {sentence}", file=sys.stderr)
    if found:
        sys.exit("lock: what to do: scripts/dev/lock" if arguments.check else 1)


if __name__ == "__main__":
    main()
