"""Build the atlas: which torch release on the package index exports which symbol.

    .venv/bin/python scripts/dev/build_abi_atlas.py --work DIR      every final release, from the wheels themselves
    .venv/bin/python scripts/dev/build_abi_atlas.py --add 2.16.0    one more, merged into the atlas that is there

(scripts/test makes that .venv.) A full build streams 19 GB (28 wheels) in about five minutes; what was read of a
release is kept in DIR (1 MB each), so that an interrupted build goes on where it stopped; nothing else is kept.
--add needs the new wheel only. The index is the one uv is configured for, and must answer range requests; local
files and local versions (2.13.0+cpu) are refused.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version
from torch_exports import CannotRead, Wheel, find_releases, find_wheel, read_exports

from flash_doctor import __version__
from flash_doctor.abi.atlas import FORMAT, PAGES, Atlas, AtlasImage, Release, fingerprint, pack
from flash_doctor.errors import DoctorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ATLAS = Path(__file__).resolve().parents[2] / "wheel_matrix" / "abi" / "atlas.bin"
LARGEST = 3_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """What one release exports: its provenance and the fingerprints of all names."""

    release: Release
    fingerprints: frozenset[int]


def read_release(wheel: Wheel) -> dict[str, object]:
    """A release as it is kept in the work folder: its provenance, and each library's names."""
    started = time.monotonic()
    names, received = read_exports(wheel)
    seconds = time.monotonic() - started
    print(
        f"torch {wheel.version}: {received / 1e6:.0f} MB in {seconds:.0f} s, {wheel.name}", file=sys.stderr, flush=True
    )
    return {
        "version": str(wheel.version),
        "wheel": wheel.name,
        "sha256": wheel.sha256,
        "uploaded": wheel.uploaded,
        "read": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "libraries": {library: sorted(found) for library, found in names.items()},
    }


def keep(wheel: Wheel, work: Path) -> Path:
    """The file in the work folder that holds the release, read now unless it is there from this very wheel."""
    path = work / f"{wheel.version}.json.gz"
    if not path.exists() or load(path)["sha256"] != wheel.sha256:
        found, part = read_release(wheel), path.with_suffix(".part")
        with gzip.open(part, "wt", encoding="utf-8", compresslevel=6) as file:
            json.dump(found, file)
        part.replace(path)
    return path


def load(path: Path) -> dict[str, object]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: dict[str, object] = json.load(file)
    return found


def exports_of(found: Mapping[str, object], seen: dict[int, str] | None = None) -> Exports:
    """The release as the atlas holds it; `seen` collects a full build's names, to refuse two of one fingerprint."""
    libraries: dict[str, list[str]] = found["libraries"]  # type: ignore[assignment] parsed JSON
    by_fingerprint = {fingerprint(name): name for names in libraries.values() for name in names}
    distinct = len({name for names in libraries.values() for name in names})
    clash = [name for key, name in by_fingerprint.items() if seen is not None and seen.setdefault(key, name) != name]
    if clash or len(by_fingerprint) != distinct:
        message = f"two names have the same fingerprint ({clash[:1]}): the format needs longer keys"
        raise CannotRead(message)
    release = Release(
        version=Version(str(found["version"])),
        wheel=str(found["wheel"]),
        sha256=str(found["sha256"]),
        released=datetime.date.fromisoformat(str(found["uploaded"])),
        read=datetime.date.fromisoformat(str(found["read"])),
        names=distinct,
        libraries={library: len(names) for library, names in libraries.items()},
    )
    return Exports(release=release, fingerprints=frozenset(by_fingerprint))


def exports_in(path: Path) -> list[Exports]:
    """The releases of an atlas, with the fingerprints of their names."""
    image, provenance = AtlasImage(path.read_bytes(), path.name), Atlas.open(path).provenance
    masks = list(image.masks())
    return [
        Exports(release=release, fingerprints=frozenset(key for key, mask in masks if mask >> bit & 1))
        for bit, release in enumerate(provenance)
    ]


def write(exports: Iterable[Exports], path: Path) -> None:
    """Both files, each replaced at once; the same releases give the same bytes."""
    ordered = sorted(exports, key=lambda found: found.release.version)
    masks: dict[int, int] = {}
    for bit, found in enumerate(ordered):
        for key in found.fingerprints:
            masks[key] = masks.get(key, 0) | 1 << bit
    releases = [found.release for found in ordered]
    text = provenance_text(releases, len(masks)).encode()
    data = pack([str(release.version) for release in releases], masks, text)
    if len(data) > LARGEST:
        message = f"the atlas would have {len(data)} bytes, more than the {LARGEST} that are shipped"
        raise CannotRead(message)
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in ((path.with_suffix(".toml"), text), (path, data)):
        part = target.with_name(target.name + ".part")
        part.write_bytes(content)
        part.replace(target)
    print(f"{path}: {len(releases)} releases, {len(masks)} names, {len(data)} bytes", file=sys.stderr)


def provenance_text(releases: Sequence[Release], names: int) -> str:
    head = f"""\
# Where atlas.bin comes from: the x86_64 wheels of torch on the package index, and how many names each library of
# theirs exports. Written by scripts/dev/build_abi_atlas.py; atlas.bin holds this file's checksum, so change neither
# by hand. A name that no release exports is mistaken for an exported one once in {PAGES * 2**32 // names:,} look-ups.

[atlas]
made = {{ format = {FORMAT}, generator = "flash-doctor {__version__}", names = {names} }}

[release]
"""
    return head + "".join(map(_release_line, releases)) + "\n[names]\n" + "".join(map(_names_line, releases))


def _release_line(release: Release) -> str:
    return (
        f'"{release.version}" = {{ released = {release.released}, read = {release.read}, names = {release.names}, '
        f'wheel = "{release.wheel}", sha256 = "{release.sha256}" }}\n'
    )


def _names_line(release: Release) -> str:
    counts = ", ".join(f'"{library}" = {count}' for library, count in release.libraries.items())
    return f'"{release.version}" = {{ {counts} }}\n'


def build(options: argparse.Namespace) -> list[Exports]:
    options.work.mkdir(parents=True, exist_ok=True)
    wheels = list(find_releases(Version(options.oldest), **_where(options)))
    with ThreadPoolExecutor(options.jobs) as pool:
        paths = list(pool.map(lambda wheel: keep(wheel, options.work), wheels))
    seen: dict[int, str] = {}
    return [exports_of(load(path), seen) for path in paths]


def add(options: argparse.Namespace) -> list[Exports]:
    """The releases of the atlas and the new ones; one that is there already is read again."""
    new = [exports_of(read_release(find_wheel(f"=={version}", **_where(options)))) for version in options.add]
    versions = {found.release.version for found in new}
    return [found for found in exports_in(options.atlas) if found.release.version not in versions] + new


def _where(options: argparse.Namespace) -> dict[str, str]:
    return {"uv": options.uv, "python": options.python, "platform": options.platform}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--work", type=Path, metavar="DIR", help="build all; keep what was read of each release here")
    task.add_argument("--add", nargs="+", type=Version, metavar="VERSION", help="merge these releases into the atlas")
    parser.add_argument("--atlas", type=Path, default=ATLAS, help="the file to write (default: %(default)s)")
    parser.add_argument("--oldest", default="2.0.0", help="where a full build begins (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="wheels read at a time (default: %(default)s)")
    parser.add_argument("--python", default="3.11", help="the wheels' Python (default: %(default)s)")
    parser.add_argument(
        "--platform",
        default="x86_64-manylinux_2_28",
        help="the wheels' platform, as uv names it (default: %(default)s)",
    )
    parser.add_argument("--uv", default=_uv(), help="the uv to ask (default: %(default)s)")
    return parser.parse_args(arguments)


def _uv() -> str:
    """The uv beside the running Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def main() -> int:
    options = parse()
    try:
        write(add(options) if options.add else build(options), options.atlas)
    except (CannotRead, DoctorError, zipfile.BadZipFile) as error:
        print(f"build_abi_atlas: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
