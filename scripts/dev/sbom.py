"""What scripts/dev/sbom runs: a CycloneDX bill of materials from scripts/locks/run.txt, the same for the same checkout.

No time and no random number is in it. Licences are those that the installed packages name, where the dev venv has the
very version of the lock; the versions for other Pythons are listed without.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression, is_supported_id
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).parent))
from lock import ROOT, RUN, Pin, Project, read_lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = uuid.UUID("6f8a0d0e-5b0c-4a53-9d0a-0d9e3b1f7c11")
_CLASSIFIER = "License :: OSI Approved :: "


def bill(root: Path) -> str:
    """The document, as text that ends with a line end."""
    project = Project.read(root)
    pins = read_lock((root / "scripts" / "locks" / f"{RUN}.txt").read_text(encoding="utf-8"))
    running = _needed_to_run(project, pins)
    doctor, facts = _doctor(project), _facts(root)
    components = [(pin, _component(pin, running=pin.name in running)) for pin in pins]
    bom = Bom(components=[facts, *(component for _, component in components)])
    bom.metadata.component = doctor
    asked = [component for pin, component in components if pin.is_for(project.name)]
    bom.register_dependency(doctor, [facts, *asked])
    for pin, component in components:
        bom.register_dependency(component, [other for asks, other in components if pin.name in asks.asked_by])
    return _fixed(bom)


def _fixed(bom: Bom) -> str:
    """As text, with a serial number from the content and without a time."""
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.serial_number = uuid.UUID(int=0)
    bom.serial_number = uuid.uuid5(_SPACE, JsonV1Dot6(bom).output_as_string(indent=2))
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _sha256(digits: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digits)


def _needed_to_run(project: Project, pins: list[Pin]) -> set[str]:
    """Names of what is imported at run time; the rest builds the checkout into the venv."""
    found: set[str] = {canonicalize_name(Requirement(line).name) for line in project.table["project"]["dependencies"]}
    while True:
        more = {pin.name for pin in pins if found & set(pin.asked_by)} - found
        if not more:
            return found
        found |= more


def _doctor(project: Project) -> Component:
    table = project.table["project"]
    return Component(
        type=ComponentType.APPLICATION,
        name=project.name,
        version=table["version"],
        description=table["description"],
        licenses=[LicenseExpression(table["license"])],
        bom_ref=project.name,
    )


def _component(pin: Pin, *, running: bool) -> Component:
    address = PackageURL("pypi", name=pin.name, version=pin.version)
    marker = pin.requirement.marker
    return Component(
        type=ComponentType.LIBRARY,
        name=pin.name,
        version=pin.version,
        scope=ComponentScope.REQUIRED if running else ComponentScope.EXCLUDED,
        purl=address,
        bom_ref=str(address),
        hashes=[_sha256(text.removeprefix("sha256:")) for text in pin.hashes],
        licenses=list(_licences(pin)),
        properties=[Property(name="flash-doctor:marker", value=str(marker))] if marker else [],
    )


def _licences(pin: Pin) -> Iterator[License]:
    """What the installed package says of itself; nothing where another version is installed, or none."""
    try:
        found = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        return
    if found.version != pin.version:
        return
    said = found.metadata
    words = next((said[key] for key in ("License-Expression", "License") if key in said), "")
    named = [line.removeprefix(_CLASSIFIER) for line in said.get_all("Classifier", []) if line.startswith(_CLASSIFIER)]
    if is_supported_id(words):
        yield DisjunctiveLicense(id=words)
    elif words and is_expression(words):
        yield LicenseExpression(words)
    else:
        yield from (DisjunctiveLicense(name=name) for name in named)


def _facts(root: Path) -> Component:
    """The facts as one component: the sum is that of the lines which `sha256sum` prints for its files, by name."""
    folder = root / "wheel_matrix"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in files if path.suffix == ".toml"]
    newest = max(source["read"] for table in tables for source in table.get("sources", {}).values())
    return Component(
        type=ComponentType.DATA,
        name=folder.name,
        version=str(newest),
        description="Facts about wheels, GPUs, drivers and torch; the version is the newest date of a source.",
        bom_ref=folder.name,
        hashes=[_sha256(hashlib.sha256("".join(lines).encode()).hexdigest())],
        properties=[Property(name="flash-doctor:sha256-of", value="what sha256sum prints for its files, by name")],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/dev/sbom", description="The bill of materials, CycloneDX JSON.")
    parser.add_argument("--output", type=Path, help="a file, in place of standard output")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    text = bill(arguments.root)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault:
        sys.exit(f"sbom: what was made is no CycloneDX document: {fault}")
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
