"""Unpack wheels into a prefix of ours on the target's file system, and make their metadata name the publisher."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from flash_doctor.errors import InstallFailed
from flash_doctor.install.names import check_names, entries_of
from flash_doctor.install.swap import staged_site, staged_sites
from flash_doctor.system.bounds import record_rows
from flash_doctor.system.redact import last_lines
from flash_doctor.system.url import public

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Sequence
    from pathlib import Path

    from flash_doctor.command import Runner
    from flash_doctor.install.interface import Installer, LocalWheel
    from flash_doctor.model import Target
    from flash_doctor.system.claims import Claimed


def stage(wheels: Sequence[LocalWheel], folder: Path, target: Target, installer: Installer, runner: Runner) -> Path:
    """The staging prefix, with every wheel unpacked; the target is untouched.

    Raises:
        InstallFailed: a wheel wants to write elsewhere, or the installer refused it (hash, tags, damaged archive),
            with its last lines.
    """
    for wheel in wheels:
        check_names(wheel.path)
    prefix = folder / "stage"
    prefix.mkdir(parents=True)
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(wheel.requirement + "\n" for wheel in wheels), encoding="utf-8")
    done = runner.run(installer.unpack(requirements, prefix, target))
    if done.returncode:
        message = f"{installer.name} could not unpack what was fetched"
        raise InstallFailed(message, evidence=last_lines(done.errors + done.text, 8))
    (prefix / ".lock").unlink(missing_ok=True)  # uv's own, no file of a package
    site = _one_site(prefix)
    _check_whole(wheels, site)
    for wheel in wheels:
        _name_publisher(wheel, site)
    return prefix


def _one_site(prefix: Path) -> Path:
    """The folder of packages, after what lies in a second one (lib beside lib64) was moved into it."""
    first, *others = staged_sites(prefix) or (staged_site(prefix),)
    for other in others:
        for path in sorted(path for path in other.rglob("*") if path.is_symlink() or not path.is_dir()):
            place = first / path.relative_to(other)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        shutil.rmtree(other)
    return first


def _check_whole(wheels: Sequence[LocalWheel], site: Path) -> None:
    """Every file of the wheels is there in its size, and listed in a RECORD: uv overlooks some failing writes."""
    listed = {row[0] for record in site.glob("*.dist-info/RECORD") for row in _rows(record)}
    lost = [
        member.filename
        for wheel in wheels
        for member in _members(wheel.path)
        if member.filename not in listed or _size(site / member.filename) != member.file_size
    ]
    if lost:
        message = "the installer did not unpack everything"
        raise InstallFailed(message, evidence=lost[:8], advice="Look for a full disk or a failing one, then try again.")


def _members(wheel: Path) -> list[zipfile.ZipInfo]:
    """The files of a wheel that lie in the package folder as they are; RECORD is written anew."""
    return [member for member in entries_of(wheel) if not _moved(member.filename)]


def _moved(name: str) -> bool:
    """Folders, what goes elsewhere (scripts, headers), and RECORD with its signatures."""
    return name.endswith("/") or ".data/" in name.partition("/")[0] + "/" or ".dist-info/RECORD" in name


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _name_publisher(wheel: LocalWheel, site: Path) -> None:
    """direct_url.json names the publisher's address and the hash, so that `pip freeze` makes sense elsewhere.

    As PEP 610 specifies it, which forbids credentials in it.
    """
    metadata = next((path for path in site.glob("*.dist-info") if _dist_name(path) == wheel.name), None)
    if metadata is None:
        message = f"{wheel.path.name} holds another distribution than {wheel.name}"
        found = [path.name for path in site.glob("*.dist-info")]
        raise InstallFailed(message, evidence=found[:8])
    origin = {"url": public(wheel.url), "archive_info": {"hashes": {"sha256": wheel.sha256}}}
    content = json.dumps(origin).encode()
    path = metadata / "direct_url.json"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    _record_again(metadata / "RECORD", path.relative_to(site).as_posix(), content)


def _dist_name(metadata: Path) -> str:
    return canonicalize_name(metadata.name.partition("-")[0])


def _rows(record: Path) -> list[list[str]]:
    try:
        return _accept(record_rows(record))
    except (OSError, ValueError) as error:
        message = f"{record.parent.name} was unpacked with a RECORD that cannot be read"
        raise InstallFailed(message, evidence=(str(error),)) from error


def _accept(claim: Claimed[list[list[str]]]) -> list[list[str]]:
    """As it is: the installer wrote it a moment ago, and its names are compared with the wheel's."""
    return claim.unproved()


def _record_again(record: Path, name: str, content: bytes) -> None:
    """RECORD with this file's new hash and size; written anew, for the old one may be linked to a cache."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    rows = [row for row in _rows(record) if row[0] != name]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([*rows, [name, f"sha256={digest}", str(len(content))]])
    record.unlink()
    record.write_text(out.getvalue(), encoding="utf-8", errors="surrogateescape")
