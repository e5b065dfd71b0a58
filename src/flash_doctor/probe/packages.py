"""Fixes of ours that were cut off, seen from outside."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flash_doctor.errors import TargetError
from flash_doctor.model import Absent, BrokenMetadata, Package, Packages, Part, Python, PythonKind, RecordCheck, Unknown
from flash_doctor.system.bounds import count_of, read_json
from flash_doctor.system.files import read_regular
from flash_doctor.system.inside import can_exist
from flash_doctor.system.redact import cut, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.system.claims import Claimed


def unfinished_fixes(sites: Iterable[Path]) -> Iterator[Path]:
    """Where one promised to undo itself and has not said since that it is done (install/journal.py)."""
    for site in (site for site in sites if os.access(site, os.X_OK)):  # of a closed one `closed_site` tells
        for journal in (site / ".flash-doctor").glob("*/journal.json"):
            if not (journal.parent / "done").exists():
                yield journal.parent


_NOT_COMPARED = Unknown(unknown="its files were not compared with RECORD: it is no companion of torch")
_MOST_FOLDERS = 1000  # of sys.path
_NO_RECORD = Absent(absent="the distribution has no RECORD")


class TargetDocument(NamedTuple):
    """What the document of inside.py says: `owners` has the distribution whose RECORD lists a compiled file.

    `closed` is why the packages cannot be told, None where they can.
    """

    python: Python
    packages: Packages
    owners: dict[Path, NormalizedName]
    closed: Unknown | None


def described(raw: Any) -> TargetDocument:
    """The raw document of inside.py as values.

    Raises:
        TargetError: our script gives no such answer; something else in that Python has answered in its place.
    """
    try:
        packages = read_packages(raw)
        python = read_python(raw, packages)
        return TargetDocument(python, packages, binary_owners(raw), closed_site(raw, python))
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        message = "the target's Python does not answer as the doctor's script does: something answers in its place"
        raise TargetError(message, evidence=(f"{type(error).__name__}: {cut(str(error), 200)}",)) from error


def _text(value: Any) -> str:
    """A text that can be a path, too."""
    if not isinstance(value, str) or not can_exist(value):
        message = f"{cut(str(value), 80)!r} stands where a text is expected"
        raise TypeError(message)
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_text(value) for value in ([] if values is None else values))


def read_python(raw: dict[str, Any], packages: Packages) -> Python:
    """The interpreter, of the raw document of inside.py."""
    facts = raw["python"]
    pip = packages.find("pip")
    return Python(
        version=Version(facts["version"]),
        implementation=_text(facts["implementation"]),
        executable=Path(_text(facts["executable"])),
        prefix=Path(_text(facts["prefix"])),
        base_prefix=Path(_text(facts["base_prefix"])),
        kind=_kind(facts),
        abi=_text(facts["abi"]),
        platform=_text(facts["platform"]),
        markers={_text(name): _text(value) for name, value in facts["markers"].items()},
        search_path=_paths(raw["path"][:_MOST_FOLDERS]),
        site_packages=_paths(facts["site_packages"]),
        user_site=_optional(facts["user_site"], "this interpreter does not look into a user site"),
        pythonpath=_paths(facts["pythonpath"]),
        managed=_text(facts["managed"] or "") or Absent(absent="no EXTERNALLY-MANAGED file"),
        writable=bool(facts["writable"]),
        pip=pip.version if pip else Absent(absent="pip is not installed in the target"),
        headers=_optional(facts["headers"], "no Python.h where this interpreter's headers belong"),
    )


def _kind(facts: dict[str, Any]) -> PythonKind:
    if facts["prefix"] != facts["base_prefix"]:
        return PythonKind.VENV
    return PythonKind.CONDA if facts["conda"] else PythonKind.SYSTEM


def _paths(texts: list[str]) -> tuple[Path, ...]:
    return tuple(map(Path, _texts(texts)))


def _optional(text: str | None, why: str) -> Part[Path]:
    return Absent(absent=why) if text is None else Path(_text(text))


def read_packages(raw: dict[str, Any]) -> Packages:
    """Every distribution in the order of sys.path, of the raw document of inside.py."""
    user_site = raw["python"]["user_site"]
    links = set(raw["links"])
    return Packages(
        distributions=tuple(_package(item, user_site, links) for item in raw["distributions"]),
        leftovers=_paths(raw["leftovers"]),
        broken=tuple(_broken(item) for item in raw["broken"]),
        unfinished=tuple(unfinished_fixes(_paths(raw["python"]["site_packages"]))),
    )


def _broken(item: dict[str, Any]) -> BrokenMetadata:
    return BrokenMetadata(
        path=Path(_text(item["path"])), why=_text(item["why"]), closed=item.get("closed", False) is True
    )


def closed_site(raw: dict[str, Any], python: Python) -> Unknown | None:
    """Why the packages of the target cannot be told: a folder of them that this user may not list.

    Other folders of sys.path that are closed, such as one of PYTHONPATH, are closed to the target's imports too.
    """
    sites = {str(folder) for folder in python.site_packages}
    why = [f"{item['path']} {item['why']}" for item in raw["closed"] if item["path"] in sites]
    return Unknown(unknown=why[0]) if why else None


def importable(python: Python) -> tuple[Path, ...]:
    """The folders of sys.path that imports can look into, and those of the packages, closed or not."""
    return tuple(path for path in python.search_path if path in python.site_packages or os.access(path, os.X_OK))


def binary_owners(raw: dict[str, Any]) -> dict[Path, NormalizedName]:
    """Which distribution's RECORD lists each compiled file."""
    return {
        Path(item["location"], name): canonicalize_name(item["fields"]["name"][0])
        for item in raw["distributions"]
        for name in _texts(item["binaries"])
    }


def _package(item: dict[str, Any], user_site: str | None, links: set[str]) -> Package:
    fields, texts = item["fields"], item["texts"]
    raw_version = _text(fields["version"][0])
    origin = _origin(texts.get("direct_url.json"))
    location = _text(item["location"])
    return Package(
        name=canonicalize_name(fields["name"][0]),
        version=parse_version(raw_version),
        raw_version=raw_version,
        metadata=Path(_text(item["metadata"])),
        location=Path(location),
        installer=(texts.get("INSTALLER") or "").strip(),
        url=origin.url,
        editable=origin.editable or location in links,
        in_user_site=location == user_site,
        requires=_texts(fields.get("requires-dist")) or _egg_requires(texts.get("requires.txt") or ""),
        requires_python=_text(fields.get("requires-python", [""])[0]),
        tags=_tags(texts.get("WHEEL") or ""),
        top_level=tuple((texts.get("top_level.txt") or "").split()),
        record=_record(item),
    )


@cache
def parse_version(text: str) -> Part[Version]:
    """A version that PEP 440 knows, else Unknown."""
    try:
        return Version(text)
    except ValueError:  # InvalidVersion is one, and so is a number of more digits than int() takes
        return Unknown(unknown=f"{cut(text, 80)!r} is no version that PEP 440 knows")


class _Origin(NamedTuple):
    url: Part[str]
    editable: bool


_FROM_INDEX = _Origin(Absent(absent="no direct_url.json: it came from an index or by hand"), editable=False)


def _origin(text: str | None) -> _Origin:
    """Where direct_url.json says it came from."""
    if text is None:
        return _FROM_INDEX
    try:
        return _accept(read_json(_text(text)))
    except (ValueError, KeyError, AttributeError, TypeError):
        return _Origin(Unknown(unknown="direct_url.json is not what PEP 610 says"), editable=False)


def _accept(claim: Claimed[Any]) -> _Origin:
    """The address is shown and compared, and never opened."""
    data = claim.unproved()
    return _Origin(secrets(data["url"]), editable=bool(data.get("dir_info", {}).get("editable")))


def _tags(wheel: str) -> tuple[str, ...]:
    return tuple(line[4:].strip() for line in wheel.splitlines() if line.startswith("Tag:"))


def _egg_requires(text: str) -> tuple[str, ...]:
    """Requires-Dist lines of setuptools' requires.txt; sections are `[extra]`, `[:marker]` or `[extra:marker]`."""
    condition, result = "", []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            condition = _section_marker(line.strip("[]"))
        else:
            result.append(line + condition)
    return tuple(result)


def _section_marker(section: str) -> str:
    extra, _, marker = section.partition(":")
    terms = [f"({marker})"] * bool(marker) + [f'extra == "{extra}"'] * bool(extra)
    return "; " + " and ".join(terms) if terms else ""


def _record(item: dict[str, Any]) -> Part[RecordCheck]:
    record = item["record"]
    if record is None:
        return _NOT_COMPARED if item["has_record"] else _NO_RECORD
    if "error" in record:
        return Unknown(unknown=f"its files cannot be compared with RECORD: {record['error']}")
    return RecordCheck(
        files=count_of(record["files"]),
        missing=_texts(record["missing"]),
        changed=_texts(record["changed"]),
        hashed=bool(record["hashed"]),
    )


def version_in(source: Path, name: str = "__version__") -> Part[Version]:
    """The version that a Python file assigns to `name` as a literal; the file is parsed, not run."""
    text = assigned(source).get(name)
    return parse_version(text) if isinstance(text, str) else Unknown(unknown=f"{source} gives no literal {name}")


def assigned(source: Path) -> dict[str, object]:
    """Literals that the top level of a Python file assigns to single names; empty when it cannot be read."""
    import ast

    try:
        tree = ast.parse(re.sub(rb"^\xef\xbb\xbf", b"", read_regular(source)))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
        return {}
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
