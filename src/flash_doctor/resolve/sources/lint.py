"""`flash-doctor matrix lint`: faults of the facts that take too long to be looked for at every start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.resolve.sources.matrix import Wheels


def lint(wheels: Wheels, facts: Facts) -> tuple[str, ...]:
    """Faults that take too long to look for on every start: names as packaging reads them, whose an address is."""
    return (*_names(wheels), *_publishers(wheels, facts))


def _publishers(wheels: Wheels, facts: Facts) -> Iterator[str]:
    """The table of publishers against the files that it speaks of, both ways round."""
    table = facts.publishers
    having = {origin.publisher for origin in wheels.origins}
    for name, row in table.rows.items():
        if row.rank is not None and name not in having:
            yield f"publishers.toml: publisher.{name}: rank: there is no file wheels/{name}.json"
        if row.rank is None and (row.index or row.releases):
            yield f"publishers.toml: publisher.{name}: rank: is missing, though an index or releases are read"
    for origin in wheels.origins:
        if origin.file.stem != origin.publisher:
            yield f"{origin.file}: its publisher is {origin.publisher}"
    for name in sorted({row.publisher for row in facts.gpus.flash_wheels} - table.rows.keys()):
        yield f"gpus.toml: flash_wheel: publisher: {name} is not in publishers.toml"
    for family, (wheel, *_) in wheels.groups:
        owner = table.publisher_of(wheel.url) if family.template and wheel.url else None
        if family.template and (owner is None or owner.name != family.publisher):
            yield f"{family.publisher}: {wheel.url} is none of its addresses in publishers.toml"


def _names(wheels: Wheels) -> list[str]:
    faults = []
    for wheel in wheels:
        try:
            name, version, _, parsed = parse_wheel_filename(wheel.filename)
        except (InvalidWheelFilename, InvalidVersion) as error:
            faults.append(f"{wheel.family.publisher}: {error}")
            continue
        if name != wheel.name or version != Version(wheel.version):
            faults.append(f"{wheel.family.publisher}: {wheel.filename} is not {wheel.name} {wheel.version}")
        if not any((tag.interpreter, tag.abi) == (wheel.python, wheel.abi) for tag in parsed):
            faults.append(f"{wheel.family.publisher}: {wheel.filename} lacks the tag {wheel.python}-{wheel.abi}")
    return faults
