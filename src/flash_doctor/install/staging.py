"""Wheels unpacked into a prefix of ours beside the target; no name in one of them leads out of it."""

from __future__ import annotations

import base64
import configparser
import csv
import filecmp
import hashlib
import io
import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from flash_doctor.errors import InstallFailed
from flash_doctor.install.files import is_there
from flash_doctor.install.journal import FOLDER
from flash_doctor.install.swap import destinations, recorded, staged_site, staged_sites
from flash_doctor.system.archive import BadArchive, open_zip, read_member
from flash_doctor.system.bounds import record_rows
from flash_doctor.system.inside import Inside
from flash_doctor.system.redact import last_lines
from flash_doctor.system.url import public

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.install.installers import Installer, LocalWheel
    from flash_doctor.model import Package, Target
    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner


_SCRIPTS = ("console_scripts", "gui_scripts")
_SHOWN = 5
_LARGEST = 1 << 20  # bytes of a list of programs: more is a bomb
_LISTS = 8  # of programs: a wheel has one


def check_names(wheel: Path) -> None:
    """Raises InstallFailed when a file or a program in the wheel has a name that leads elsewhere, or it is damaged."""
    with _opened(wheel) as archive:
        names = archive.namelist()
        lists = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        if len(lists) > _LISTS:
            message = f"{len(lists)} lists of programs"
            raise BadArchive(message)
        texts = [read_member(archive, name, _LARGEST).decode("utf-8", "replace") for name in lists]
    programs = [program for text in texts for program in _programs(text)]
    bad = [name for name in names if _leads_out(name)] + [name for name in programs if "/" in name or "\\" in name]
    if bad:
        message = f"{wheel.name} wants to write outside of the environment"
        raise InstallFailed(message, evidence=bad[:_SHOWN])


def entries_of(wheel: Path) -> list[zipfile.ZipInfo]:
    """Every entry of a wheel, folders included.

    Raises:
        InstallFailed: it cannot be read as an archive.
    """
    with _opened(wheel) as archive:
        return archive.infolist()


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_zip(wheel) as archive:
            yield archive
    except BadArchive as error:
        message = f"{wheel.name} is damaged: it cannot be read as an archive"
        raise InstallFailed(message, evidence=(str(error),)) from error


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _programs(text: str) -> Iterator[str]:
    """Names of the programs that an installer would make, as the entry point specification writes them."""
    parser = configparser.ConfigParser(strict=False, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in _SCRIPTS:
        if parser.has_section(section):
            yield from parser.options(section)


_SHOWN_FILES = 5


def trespasses(
    staged: Path, *, removed: Collection[Package], others: Collection[Package], site: Path, prefix: Path
) -> tuple[str, ...]:
    """Why the files under a staging prefix may not go where they would; empty when all of them may.

    Args:
        staged: a prefix laid out like the target's, made by an installer.
        removed: distributions that go, whose files may be replaced.
        others: distributions that stay.
        site: the target's folder for compiled packages.
        prefix: the target's own prefix.
    """
    arriving = dict(destinations(staged, site, prefix))
    ours = Inside(site, prefix)
    mine = {path for package in removed for path in recorded(package, ours, strict=False)}
    owners = {path: package.name for package in others for path in recorded(package, ours, strict=False)}
    brought = _names(staged)
    found: list[str] = []
    for path, source in sorted(arriving.items()):
        if FOLDER in source.relative_to(staged).parts:
            found.append(f"{path} is a place of flash-doctor's own, where journals lie")
        elif not ours(path):
            found.append(f"{path.parent} leads out of the target by a link, and files would be written there")
        elif path.is_dir() and not path.is_symlink():
            found.append(f"{path} is a folder, and a file would take its place")
        elif path not in mine and is_there(path) and not _same(path, source):
            found += _overwritten(path, owners.get(path), brought, site)
    return tuple(dict.fromkeys(found))[:_SHOWN_FILES]


def _overwritten(path: Path, owner: NormalizedName | None, brought: Collection[str], site: Path) -> Iterator[str]:
    """Relatives share folders (flash-attn and flash-attn-4, the packages of nvidia), and so does what nobody owns."""
    if owner is None and not path.is_relative_to(site):
        yield f"{path} would be overwritten, which is there and belongs to no package that is replaced"
    elif owner is not None and _family(owner) not in map(_family, brought):
        yield f"{path} of {owner} would be overwritten"


def _names(staged: Path) -> set[str]:
    """The distributions that are staged."""
    folders = staged_site(staged).glob("*.dist-info")
    return {path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-") for path in folders}


def _family(name: str) -> str:
    return name.partition("-")[0]


def _same(path: Path, source: Path) -> bool:
    return path.is_file() and source.is_file() and filecmp.cmp(path, source, shallow=False)


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
