"""nvidia-smi, asked only where NVML could not be loaded by us."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.errors import CommandFailed
from flash_doctor.model import Absent, Capability, Gpu, Part, Unknown, known
from flash_doctor.probe.files import version_in
from flash_doctor.system.bounds import csv_rows
from flash_doctor.system.process import Command
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.system.process import Runner, Running

_FIELDS = (
    "index",
    "name",
    "uuid",
    "pci.bus_id",
    "memory.total",
    "memory.used",
    "ecc.mode.current",
    "mig.mode.current",
    "driver_version",
)
# nvidia-smi before driver 510 refuses the whole query because of this field
_NEWER_FIELDS = ("compute_cap",)
_MIB = 1024 * 1024
_CUDA = re.compile(r"CUDA Version:\s*(\d+\.\d+)")
_WHOLE = re.compile("[0-9]{1,12}")
_LIMIT = 10.0


class SmiAnswer(NamedTuple):
    driver: Part[Version]
    max_cuda: Part[Version]
    gpus: tuple[Gpu, ...]


def ask_smi(program: str, runner: Runner) -> Part[SmiAnswer]:
    """Both queries run side by side; Unknown with nvidia-smi's own words when it fails."""
    try:
        table = runner.start(Command(argv=(program,), timeout=_LIMIT))
        rows, max_cuda = _query(program, runner), _max_cuda(table)
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)
    if isinstance(rows, Unknown):
        return rows
    return SmiAnswer(driver=_driver(rows), max_cuda=max_cuda, gpus=tuple(_gpu(row) for row in rows))


def _query(program: str, runner: Runner) -> list[dict[str, str]] | Unknown:
    said = ""
    for fields in (_FIELDS + _NEWER_FIELDS, _FIELDS):
        argv = (program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        try:
            done = runner.run(Command(argv=argv, timeout=_LIMIT))
        except CommandFailed as failed:
            return Unknown(unknown=failed.message)
        if done.returncode == 0:
            return _answers(fields, done.text)
        said = (done.text + done.errors).strip()
    return Unknown(unknown=f"nvidia-smi: {cut(said, 300)}")


def _answers(fields: tuple[str, ...], text: str) -> list[dict[str, str]] | Unknown:
    try:
        rows = [[value.strip() for value in row] for row in csv_rows(text)]
    except ValueError as error:
        return Unknown(unknown=f"the answer of nvidia-smi cannot be read: {error}")
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]


def _max_cuda(table: Running) -> Part[Version]:
    """Only the head of the table tells it."""
    try:
        return version_in(table.wait().text, _CUDA)
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)


def _driver(rows: list[dict[str, str]]) -> Part[Version]:
    return version_in(rows[0]["driver_version"]) if rows else Unknown(unknown="nvidia-smi lists no GPU")


def _gpu(row: dict[str, str]) -> Gpu:
    index = row["index"]
    not_asked = Unknown(unknown="nvidia-smi was not asked; NVML did not answer")
    return Gpu(
        index=int(index) if _WHOLE.fullmatch(index) else 0,
        name=row["name"],
        uuid=row["uuid"] if row["uuid"].startswith("GPU-") else Unknown(unknown=row["uuid"]),
        bus_id=row["pci.bus_id"],
        memory=_bytes(row["memory.total"]),
        memory_used=_bytes(row["memory.used"]),
        capability=_capability(row.get("compute_cap", "not told by this nvidia-smi")),
        ecc=_switch(row["ecc.mode.current"]),
        mig=_switch(row["mig.mode.current"]),
        processes=not_asked,
        fabric=not_asked,
        visible=not_asked,
    )


def _bytes(mebibytes: str) -> Part[int]:
    return int(mebibytes) * _MIB if _WHOLE.fullmatch(mebibytes) else Unknown(unknown=f"nvidia-smi says {mebibytes}")


def _capability(text: str) -> Part[Capability]:
    version = known(version_in(text))
    return Capability(major=version.major, minor=version.minor) if version else Unknown(unknown=text)


def _switch(text: str) -> Part[bool]:
    if text in {"[N/A]", "N/A", "[Not Supported]"}:
        return Absent(absent="not supported by this GPU")
    return text == "Enabled" if text in {"Enabled", "Disabled"} else Unknown(unknown=f"nvidia-smi says {text}")
