"""`flash-doctor abi`: what compiled extensions and wheels were built for, and whether the target could load them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from flash_doctor.cli.errors import emit
from flash_doctor.cli.options import JsonOption, PythonOption  # noqa: TC001 typer reads the annotations
from flash_doctor.errors import BROKEN, HEALTHY
from flash_doctor.model import Target, known
from flash_doctor.model.binaries import InspectedWheel
from flash_doctor.probe.modules import Modules
from flash_doctor.probe.target import find_target
from flash_doctor.system.process import SystemRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flash_doctor.abi.buffer import Buffer
    from flash_doctor.abi.wheel import OpenedWheel
    from flash_doctor.model.binaries import InspectedFile, Inspection
    from flash_doctor.system.redact import Redacted


def command(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE|WHEEL|URL|PACKAGE...", help="Shared objects, wheels, installed packages."),
    ],
    python: PythonOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what a compiled extension or a wheel was built for.

    Reads which torch releases have all it needs, its C++ ABI, GPU code, Python and glibc, and what an import in
    the environment would say. Nothing is loaded, and a wheel is not unpacked.
    """
    inspection = examine(files, find_target(python, os.environ))
    code = BROKEN if any(file.fails for file in inspection.files) else HEALTHY
    emit(_json(inspection, code) if as_json else _text(inspection))
    return code


def examine(subjects: Sequence[str], target: Target) -> Inspection:
    """Every binary of every subject, against the target.

    Raises:
        BadInput: a subject cannot be read, or is neither a file nor a package of the target.
    """
    from flash_doctor.model.binaries import Inspection
    from flash_doctor.probe.modules import find_modules
    from flash_doctor.probe.packages import unfinished_fixes

    names = [subject for subject in subjects if not (_is_url(subject) or _is_file(subject))]
    modules = find_modules(target, SystemRunner(), names)
    if any(unfinished_fixes((modules.site,))):
        _note_cut_off()
    room = _Room(target, modules)
    files = tuple(file for subject in subjects for file in room.inspect(subject))
    return Inspection(
        python=str(target.python),
        torch=modules.torch_version,
        files=files,
        bytes_read=room.received or None,
        wheels=tuple(room.wheels),
    )


def _note_cut_off() -> None:
    from flash_doctor.cli.terminal import TerminalDesk
    from flash_doctor.install.target_state import note_cut_off

    note_cut_off(TerminalDesk(yes=True, as_json=True))


def _is_url(subject: str) -> bool:
    return subject.lower().startswith(("http://", "https://"))


def _is_file(subject: str) -> bool:
    """A path, or a word that looks like one: a missing file is told as such, not as a missing package."""
    return "/" in subject or subject.endswith((".so", ".whl")) or os.path.lexists(subject)


@dataclass
class _Room:
    """Where files are compared: the target, and its torch if it has one."""

    target: Target
    modules: Modules
    received: int = 0
    wheels: list[InspectedWheel] = field(default_factory=list)

    def inspect(self, subject: str) -> Iterator[InspectedFile]:
        if _is_url(subject):
            yield from self._address(subject)
        elif subject in self.modules.packages:
            for path in self.modules.packages[subject]:
                yield self._file(path, str(path))
        elif subject.endswith(".whl"):
            from flash_doctor.abi.inspection import describe
            from flash_doctor.abi.wheel import open_wheel

            with open_wheel(Path(subject)) as wheel:
                self.wheels.append(describe(wheel, subject))
                yield from self._wheel(wheel)
        else:
            yield self._file(Path(subject), subject)

    def _address(self, url: str) -> Iterator[InspectedFile]:
        from flash_doctor.abi.inspection import describe
        from flash_doctor.abi.wheel import OpenedWheel
        from flash_doctor.system.ranges import RangeReader

        source = RangeReader(url)
        wheel = OpenedWheel(source, unquote(urlsplit(url).path).rpartition("/")[2])
        said = describe(wheel, wheel.filename)
        self.wheels.append(replace(said, bytes_read=source.received))
        yield from self._wheel(wheel)
        self.received += source.received

    def _wheel(self, wheel: OpenedWheel) -> Iterator[InspectedFile]:
        """A wheel's binaries as if they were installed in the target, where they find each other."""
        buffers = {name: wheel.buffer(name) for name in wheel.binaries}
        overlay = {self.modules.site / name: buffer for name, buffer in buffers.items()}
        for name, buffer in buffers.items():
            yield self._file(self.modules.site / name, name, buffer, overlay)

    def _file(
        self, path: Path, name: str, buffer: Buffer | None = None, overlay: Mapping[Path, Buffer] | None = None
    ) -> InspectedFile:
        from flash_doctor.abi.atlas import Atlas
        from flash_doctor.abi.binary import read_binary
        from flash_doctor.abi.inspection import inspect
        from flash_doctor.abi.linker import link

        binary = read_binary(path if buffer is None else buffer, name)
        torch = self.modules.torch
        # without a torch in the target there is nothing to say about a file that is to be loaded into one
        comparable = torch is not None or not binary.links_torch
        torch_lib = torch / "lib" if torch and binary.links_torch else None
        linkage = link(path, self.target.python, torch_lib, os.environ, overlay=overlay) if comparable else None
        return inspect(
            binary,
            name,
            Atlas.open(),
            linkage=linkage,
            installed=known(self.modules.torch_version),
            python_abi=self.modules.abi,
        )


def _json(inspection: Inspection, code: int) -> Redacted:
    from flash_doctor.render.document import abi_document, to_json

    return to_json(abi_document(inspection, code))


def _text(inspection: Inspection) -> Redacted:
    from flash_doctor.render.binaries import inspection_lines
    from flash_doctor.render.console import to_text

    return to_text(inspection_lines(inspection), sys.stdout)
