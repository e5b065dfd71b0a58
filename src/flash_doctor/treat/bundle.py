"""`bundle`: everything that a plan installs in one folder, for a machine without network."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.address import file_name, public
from flash_doctor.command import Command
from flash_doctor.errors import BadInput, InstallFailed, NoPlanFound
from flash_doctor.install.fetch import Wanted, fetch
from flash_doctor.install.pins import Pins
from flash_doctor.install.space import demand_room
from flash_doctor.model.plan import Build, HashState, Install, Plan
from flash_doctor.treat.source import settle_sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.command import Runner
    from flash_doctor.model import Python
    from flash_doctor.model.plan import Step
    from flash_doctor.treat.desk import Desk
    from flash_doctor.treat.options import Options

_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What lies in the folder: the plan with the hash of every file, and the files' bytes together."""

    plan: Plan
    files: tuple[Path, ...]
    size: int


def bundle(plan: Plan, folder: Path, options: Options, desk: Desk) -> Bundle:
    """Fetch every file of a plan into `folder`; a file that is there with the right hash is left.

    Raises:
        NoPlanFound: a step has no address.
        BadInput: not enough room, or a file without a published hash that nobody trusts.
        HttpError: an address could not be read.
        HashMismatch: it gave another file than was promised.
    """
    plan = settle_sources(plan, options)
    demand_room(folder, [getattr(step, "size", 0) for step in plan.steps], "in the folder of the bundle")
    folder.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = []
    files: list[Path] = []
    for step in plan.steps:
        packed = _pack(step, folder, options, desk)
        steps.append(packed)
        if isinstance(packed, (Install, Build)) and packed.url:
            files.append(folder / file_name(packed.url))
    size = sum(path.stat().st_size for path in files)
    return Bundle(plan=replace(plan, steps=tuple(steps)), files=tuple(files), size=size)


def _pack(step: Step, folder: Path, options: Options, desk: Desk) -> Step:
    """The step with the hash of its file, which now lies in the folder."""
    if not isinstance(step, (Install, Build)):
        return step
    if step.url is None:
        message = f"the plan has no address for {step.name}"
        raise NoPlanFound(message, advice="Make the plan again where the package index can be reached.")
    promised = step.sha256 or Pins.read(options.data).of(step.url)
    if promised is None and not options.first_seen:
        message = f"nobody publishes a sha256 of {file_name(step.url)}, so it is not used without your word"
        raise BadInput(
            message, evidence=(public(step.url),), advice="Trust this first download: --trust-first-download"
        )
    with desk.working(file_name(step.url), "B") as tick:
        found = fetch(Wanted(url=step.url, sha256=promised, size=step.size), options.sources, tick)
    place = folder / file_name(step.url)
    if not (place.exists() and place.samefile(found.path)):
        shutil.copyfile(found.path, place)
    if isinstance(step, Build):
        return replace(step, url=public(step.url), sha256=found.sha256, size=found.size)
    state = step.hash_state if step.sha256 else HashState.PINNED
    return replace(step, url=public(step.url), sha256=found.sha256, size=found.size, hash_state=state)


def fetch_needs(folder: Path, needs: Sequence[str], python: Python | None, runner: Runner) -> None:
    """Wheels of what a build imports, for the Python that will build, into the folder too.

    Raises:
        InstallFailed: pip could not fetch them.
    """
    argv = (
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check",
        "--only-binary", ":all:", "--dest", str(folder), *_for_python(python), *needs,
    )  # fmt: skip
    done = runner.run(Command(argv=argv, timeout=900.0))
    if done.returncode:
        message = f"what a build needs could not be fetched: {', '.join(needs)}"
        raise InstallFailed(message, evidence=done.errors.strip().splitlines()[-5:])


def _for_python(python: Python | None) -> tuple[str, ...]:
    """Options of pip for another interpreter than the doctor's; the machine is that of its platform tag."""
    if python is None:
        return ()
    machine = python.platform.partition("_")[2]
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    version = f"{python.version.major}.{python.version.minor}"
    return ("--python-version", version, "--implementation", "cp", *platforms)
