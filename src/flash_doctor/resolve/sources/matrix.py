"""`wheel_matrix/wheels/*.json` -> Wheels: prebuilt wheels by publisher, checked while they are loaded.

A file holds `families`, one row for the wheels that differ in their Python alone, in the order of COLUMNS.
`sha256` holds hashes that we pinned, `published` those that the publisher states, `address` where a file lies when that
does not follow from `url`; all by release and file name.
What a wheel's name does not tell is in `faults`: which rows (`where`), what is different (`effect`), who says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from flash_doctor.errors import BadFacts
from flash_doctor.model.wheel import Evidence, HashState, KnownFault, Origin, Wheel, WheelFamily
from flash_doctor.resolve.sources.names import distribution, gpu_code, platform, release, tags, version
from flash_doctor.system.bounds import read_json
from flash_doctor.system.claims import is_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.version import Version

    from flash_doctor.facts.publishers import Publisher, Publishers
    from flash_doctor.system.claims import Claimed

COLUMNS = (
    "dist version local release cuda torch built cxx11abi code platform evidence source pythons".split()  # noqa: SIM905
)
HEAD = ("publisher", "url", "hash", "sources", "requires", "faults", "columns", "families")
EFFECTS = {"cxx11abi", "glibc", "newer_torch", "broken"}

Row = dict[str, Any]

# called for every row with one of few words
evidence, hash_state = cache(Evidence), cache(HashState)


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """Every wheel that is known, grouped by family, and the files that say so."""

    groups: tuple[tuple[WheelFamily, tuple[Wheel, ...]], ...]
    origins: tuple[Origin, ...] = ()

    def __iter__(self) -> Iterator[Wheel]:
        return (wheel for _, wheels in self.groups for wheel in wheels)

    def __len__(self) -> int:
        return sum(len(wheels) for _, wheels in self.groups)

    @cached_property
    def names(self) -> Mapping[str, tuple[Wheel, ...]]:
        """Wheels by file name; a publisher may have put one name into two releases."""
        found: dict[str, tuple[Wheel, ...]] = {}
        for wheel in self:
            found[wheel.filename] = (*found.get(wheel.filename, ()), wheel)
        return found

    @cached_property
    def newest_first(self) -> tuple[tuple[WheelFamily, tuple[Wheel, ...]], ...]:
        """The groups in one order, whatever the order of the rows."""
        versions = sorted({family.version for family, _ in self.groups}, reverse=True)
        places = {version: place for place, version in enumerate(versions)}

        def order(group: tuple[WheelFamily, tuple[Wheel, ...]]) -> tuple[int, str]:
            family, wheels = group
            names = (family.publisher, family.release, family.local, family.platform, wheels[0].abi, wheels[0].python)
            return places[family.version], " ".join(names)

        return tuple(sorted(self.groups, key=order))

    def plus(self, wheels: Iterable[Wheel]) -> Wheels:
        """With more wheels (of an index, of a folder), each as a family of its own."""
        return Wheels(groups=(*self.groups, *((wheel.family, (wheel,)) for wheel in wheels)), origins=self.origins)


def load_wheels(
    *folders: Path,
    only: tuple[Path, ...] = (),
    publishers: Publishers,
    knows_cuda: Callable[[Version], bool] | None = None,
) -> Wheels:
    """Read every publisher's file; one of a later folder, or among the files `only`, replaces that of the same name.

    Raises:
        BadFacts: naming the file, the row and the key that breaks an invariant, such as a publisher that the table of
            `publishers` does not know, or has no rank for.
    """
    paths = (path for folder in folders for path in sorted(folder.glob("*.json")))
    files = {path.name: path for path in (*paths, *only)}
    books = [_Book(path, publishers, knows_cuda) for path in files.values()]
    return Wheels(
        groups=tuple(group for book in books for group in book.groups()), origins=tuple(book.origin for book in books)
    )


class _Book:
    """One publisher's file while it is read."""

    def __init__(self, path: Path, publishers: Publishers, knows_cuda: Callable[[Version], bool] | None) -> None:
        self.path, self.knows_cuda = path, knows_cuda
        self.data = self._parse()
        self.publisher, self.rank = self._owner(publishers)
        self.pinned: dict[str, str] = self.data.get("sha256", {})
        self.published: dict[str, str] = self.data.get("published", {})
        self.hashes = {**self.published, **self.pinned}
        self.sizes: dict[str, int] = self.data.get("size", {})
        self.addresses: dict[str, str] = self.data.get("address", {})
        self.hashed_releases = {key.partition("/")[0] for key in (*self.hashes, *self.sizes, *self.addresses)}
        self.requires = {distribution(name): tuple(lines) for name, lines in self.data["requires"].items()}
        self._check_hashes()
        self.faults = [_Rule(self, index, fault) for index, fault in enumerate(self.data["faults"])]

    def _parse(self) -> dict[str, Any]:
        try:
            return self._accept(read_json(self.path))
        except (OSError, ValueError) as error:
            message = f"{self.path}: not readable as JSON: {error}"
            raise BadFacts(message) from error

    def _accept(self, claim: Claimed[Any]) -> dict[str, Any]:
        data = claim.unproved()
        missing = [key for key in HEAD if not isinstance(data, dict) or key not in data]
        if missing:
            raise self.bad(0, missing[0], "missing")
        if data["columns"] != COLUMNS:
            raise self.bad(0, "columns", f"expected {' '.join(COLUMNS)}")
        states = [state.value for state in HashState]
        if data["hash"] not in states:
            raise self.bad(0, "hash", f"expected one of {', '.join(states)}")
        return dict(data)

    def _owner(self, publishers: Publishers) -> tuple[Publisher, int]:
        publisher = publishers.rows.get(str(self.data["publisher"]))
        if publisher is None or publisher.rank is None:
            why = "is not in publishers.toml" if publisher is None else "has no rank in publishers.toml"
            raise self.bad(0, "publisher", f"{self.data['publisher']!r} {why}")
        return publisher, publisher.rank

    def _index(self, cuda: Version | None) -> str | None:
        """The index with the files of a row whose address is not composed."""
        index = self.publisher.index
        return index.of(cuda) if index and cuda and not self.data["url"] else None

    def bad(self, row: object, key: str, why: str) -> BadFacts:
        return BadFacts(f"{self.path}, row {row}, {key}: {why}")

    @property
    def origin(self) -> Origin:
        dates = [source["date"] for source in self.data["sources"]]
        return Origin(publisher=self.publisher.name, title=self.publisher.title, file=self.path, date=max(dates))

    def groups(self) -> Iterator[tuple[WheelFamily, tuple[Wheel, ...]]]:
        general, by_release = self._sorted_faults()
        keys: set[str] = set()
        for index, values in enumerate(self.data["families"]):
            if len(values) != len(COLUMNS):
                raise self.bad(index, "families", f"{len(values)} values for {len(COLUMNS)} columns")
            row: Row = dict(zip(COLUMNS, values, strict=True))
            rules = [rule for rule in (*by_release.get(row["release"], ()), *general) if rule.matches(row)]
            family = self._family(index, row, rules)
            yield family, tuple([self._wheel(index, family, tag, keys) for tag in row["pythons"].split()])
        self._check_used(keys)

    def _sorted_faults(self) -> tuple[list[_Rule], dict[str, list[_Rule]]]:
        by_release: dict[str, list[_Rule]] = {}
        for rule in self.faults:
            for tag in rule.where.get("release", ()):
                by_release.setdefault(tag, []).append(rule)
        return [rule for rule in self.faults if "release" not in rule.where], by_release

    def _family(self, index: int, row: Row, rules: list[_Rule]) -> WheelFamily:
        effects = {key: value for rule in rules for key, value in rule.effect.items()} if rules else {}
        try:
            dist = distribution(row["dist"])
            cuda, torch = version(row["cuda"]), version(row["torch"])
            system, machine, floor = platform(row["platform"])
            source = self.data["sources"][row["source"]]
            family = WheelFamily(
                publisher=self.publisher.name,
                dist=dist,
                version=release(row["version"]),
                local=row["local"],
                release=row["release"],
                cuda=cuda,
                torch=torch,
                newer_torch=effects.get("newer_torch", False),
                built=row["built"],
                cxx11abi=effects.get("cxx11abi", row["cxx11abi"]),
                code=gpu_code(row["code"]),
                platform=row["platform"],
                system=system,
                machine=machine,
                glibc=version(effects.get("glibc", floor)),
                evidence=evidence(row["evidence"]),
                source=source["source"],
                date=source["date"],
                trust=self.rank,
                template=self.data["url"],
                index=self._index(cuda),
                hash_state=hash_state(self.data["hash"]),
                requires=self.requires[dist],
                faults=tuple(rule.fault for rule in rules),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self.bad(index, "families", f"{type(error).__name__}: {error}") from error
        if cuda is not None and self.knows_cuda is not None and not self.knows_cuda(cuda):
            raise self.bad(index, "cuda", f"no driver is known for CUDA {cuda}")
        return family

    def _wheel(self, index: int, family: WheelFamily, tag: str, keys: set[str]) -> Wheel:
        try:
            python, abi = tags(tag)
        except ValueError as error:
            raise self.bad(index, "pythons", str(error)) from error
        if family.release not in self.hashed_releases:
            return Wheel(family=family, python=python, abi=abi)
        key = f"{family.release}/{Wheel(family=family, python=python, abi=abi).filename}"
        keys.add(key)
        return Wheel(
            family=family,
            python=python,
            abi=abi,
            sha256=self.hashes.get(key),
            size=self.sizes.get(key),
            address=self.addresses.get(key),
            published=key in self.published and key not in self.pinned,
        )

    def _check_hashes(self) -> None:
        for name, value in self.hashes.items():
            if not isinstance(value, str) or not is_sha256(value):
                raise self.bad(name, "sha256", "a sha256 is 64 lower-case hexadecimal digits")

    def _check_used(self, keys: set[str]) -> None:
        """What is said about a file or a row must be about one that is there."""
        for key in ("sha256", "published", "size", "address"):
            unknown = sorted(set(self.data.get(key, {})) - keys)
            if unknown:
                raise self.bad(unknown[0], key, "no such wheel among the families")
        for rule in self.faults:
            if not rule.used:
                raise self.bad(rule.fault.id, "faults.where", "fits no row")


class _Rule:
    """A known fault and the rows that have it; `used` once one was found."""

    def __init__(self, book: _Book, index: int, data: dict[str, Any]) -> None:
        row = f"faults[{index}]"
        missing = [key for key in ("id", "where", "effect", "summary", "source", "date") if key not in data]
        if missing:
            raise book.bad(row, missing[0], "missing")
        wrong = [key for key in data["where"] if key not in COLUMNS] + [
            key for key in data["effect"] if key not in EFFECTS
        ]
        if wrong:
            raise book.bad(row, wrong[0], "unknown key")
        self.where = {key: frozenset(values) for key, values in data["where"].items()}
        self.effect: dict[str, Any] = {key: value for key, value in data["effect"].items() if key != "broken"}
        self.used = False
        self.fault = KnownFault(
            id=data["id"],
            summary=data["summary"],
            source=data["source"],
            date=data["date"],
            breaks=data["effect"].get("broken", False),
        )

    def matches(self, row: Row) -> bool:
        fits = all(row[key] in values for key, values in self.where.items())
        self.used = self.used or fits
        return fits
