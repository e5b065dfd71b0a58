"""`bundle`: everything that a plan installs in one folder, for a machine without network."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.errors import NoPlanFound
from flash_doctor.install.space import demand_room
from flash_doctor.model.plan import Install, Plan, Remove
from flash_doctor.system.url import file_name, public
from flash_doctor.treat.trust import fetch_trusted, hashed

if TYPE_CHECKING:
    from flash_doctor.install.fetch import Fetched
    from flash_doctor.model.plan import Build, Step
    from flash_doctor.treat.practice import Practice

File = TypeVar("File", "Install", "Build")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What lies in the folder: the plan with the hash of every file, and the files' bytes together."""

    plan: Plan
    files: tuple[Path, ...]
    size: int


def bundle(plan: Plan, folder: Path, practice: Practice) -> Bundle:
    """Fetch every file of a plan, whose builds are settled, into `folder`; a file that is there and right is left.

    Raises:
        NoPlanFound: a step has no address.
        BadInput: not enough room, or a file without a published hash that nobody trusts.
        HttpError: an address could not be read.
        HashMismatch: it gave another file than was promised.
    """
    demand_room(folder, [file.size for step in plan.steps for file in step.files], "in the folder of the bundle")
    folder.mkdir(parents=True, exist_ok=True)
    packed = replace(plan, steps=tuple(_packed(step, folder, practice) for step in plan.steps))
    names = dict.fromkeys(file_name(file.url or "") for step in packed.steps for file in step.files)
    files = tuple(folder / name for name in names)
    return Bundle(plan=packed, files=files, size=sum(path.stat().st_size for path in files))


def _packed(step: Step, folder: Path, practice: Practice) -> Step:
    """The step with the hashes of its files, which now lie in the folder."""
    if isinstance(step, Remove):
        return step
    if isinstance(step, Install):
        return _public(hashed(step, _placed(step, folder, practice)))
    source = _placed(step, folder, practice)
    needs = tuple(_public(hashed(need, _placed(need, folder, practice))) for need in step.needs)
    return _public(replace(step, sha256=source.sha256, size=source.size, needs=needs))


def _public(file: File) -> File:
    """Without the login that its address may hold: the bundle is carried elsewhere."""
    return replace(file, url=file.url and public(file.url))


def _placed(file: Install | Build, folder: Path, practice: Practice) -> Fetched:
    if file.url is None:
        message = f"the plan has no address for {file.name}"
        raise NoPlanFound(message, advice="Make the plan again where the package index can be reached.")
    found = fetch_trusted(file, practice)
    place = folder / file_name(file.url)
    if not (place.exists() and place.samefile(found.path)):
        shutil.copyfile(found.path, place)
    return found
