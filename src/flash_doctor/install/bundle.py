"""`bundle`: everything that a plan installs in one folder, for a machine without network."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.install.fetch import hash_of
from flash_doctor.install.gather import demand_room
from flash_doctor.install.hashes import fetch_trusted, hashed
from flash_doctor.model.plan import Install, Plan, Remove
from flash_doctor.system.download import HashMismatch
from flash_doctor.system.url import file_name, public

if TYPE_CHECKING:
    from flash_doctor.install.context import InstallContext
    from flash_doctor.install.fetch import Fetched
    from flash_doctor.model.plan import Build, Step

File = TypeVar("File", "Install", "Build")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What lies in the folder: the plan with the hash of every file, and the files' bytes together."""

    plan: Plan
    files: tuple[Path, ...]
    size: int


def bundle(plan: Plan, folder: Path, context: InstallContext) -> Bundle:
    """Fetch every file of a plan, whose builds are settled, into `folder`; a file that is there and right is left.

    Raises:
        NoPlanFound: a step has no address.
        BadInput: not enough room, or a file without a published hash that nobody trusts.
        HttpError: an address could not be read.
        HashMismatch: it gave another file than was promised.
    """
    _demand_names(plan)
    demand_room(folder, [file.size for step in plan.steps for file in step.files], "in the folder of the bundle")
    folder.mkdir(parents=True, exist_ok=True)
    packed = replace(plan, steps=tuple(_packed(step, folder, context) for step in plan.steps))
    names = dict.fromkeys(file_name(file.url or "") for step in packed.steps for file in step.files)
    files = tuple(folder / name for name in names)
    return Bundle(plan=packed, files=files, size=sum(path.stat().st_size for path in files))


def _demand_names(plan: Plan) -> None:
    """Two files of one name would take each other's place."""
    files = {(file.url, file.sha256) for step in plan.steps for file in step.files if file.url}
    names = Counter(file_name(url) for url, _ in files)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        message = f"the plan has two files with the name {twice[0]}"
        raise BadInput(message, advice="A bundle holds files by their names: make two bundles.")


def _packed(step: Step, folder: Path, context: InstallContext) -> Step:
    """The step with the hashes of its files, which now lie in the folder."""
    if isinstance(step, Remove):
        return step
    if isinstance(step, Install):
        return _public(hashed(step, _placed(step, folder, context)))
    source = _placed(step, folder, context)
    needs = tuple(_public(hashed(need, _placed(need, folder, context))) for need in step.needs)
    return _public(replace(step, sha256=source.sha256, size=source.size, needs=needs))


def _public(file: File) -> File:
    """Without the login that its address may hold: the bundle is carried elsewhere."""
    return replace(file, url=file.url and public(file.url))


def _placed(file: Install | Build, folder: Path, context: InstallContext) -> Fetched:
    if file.url is None:
        message = f"the plan has no address for {file.name}"
        raise NoPlanFound(message, advice="Make the plan again where the package index can be reached.")
    found = fetch_trusted(file, context)
    _copied(found, folder / file_name(file.url))
    return found


def _copied(found: Fetched, place: Path) -> None:
    """The file in the bundle, by way of a draft: nothing is written through a link, and no mode is widened.

    Raises:
        HashMismatch: it is another file than was promised; whatever it was, it is not carried away.
    """
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=".")
    draft = Path(name)
    try:
        with found.path.open("rb") as source, os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode) & 0o777)
        digest = hash_of(draft)
        if digest != found.sha256:
            message = f"{found.path} is not the file that was promised"
            raise HashMismatch(message, evidence=(f"promised sha256 {found.sha256}", f"found sha256 {digest}"))
        draft.replace(place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
