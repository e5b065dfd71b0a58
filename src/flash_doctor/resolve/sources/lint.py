"""`doctor matrix lint`: what takes too long to be looked for on every start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from flash_doctor.resolve.sources.matrix import Wheels


def lint(wheels: Wheels) -> tuple[str, ...]:
    """Faults that take too long to look for on every start: names and addresses as packaging reads them."""
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
    return tuple(faults)
