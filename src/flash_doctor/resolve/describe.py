"""A machine described in words (`H100x8`, driver 570.86, torch 2.8.0+cu128 ...) as an Environment to plan for."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model import (
    Absent,
    Capability,
    Driver,
    Environment,
    Gpu,
    Gpus,
    GpuSource,
    Habitat,
    Host,
    Libc,
    Part,
    Python,
    PythonKind,
    Torch,
    Unknown,
)
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from flash_doctor.facts import Facts

T = TypeVar("T")
NOT_SAID = Unknown(unknown="not described")
_COUNTED = re.compile(r"(.+?)(?:\s*[x*]\s*(\d{1,4}))?")
_CAPABILITY = re.compile(r"(?:sm_?)?(\d{1,3})[._]?(\d)")
_PYTHON = re.compile(r"3\.(\d+)(?:\.\d+)?(t?)")
_CUDA_TAG = re.compile(r"cu(\d+)(\d)")
_WORD = re.compile(r"[a-z0-9]+")
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def describe(
    facts: Facts,
    *,
    gpu: str | None = None,
    driver: str | None = None,
    torch: str | None = None,
    python_version: str | None = None,
    glibc: str | None = None,
    machine: str | None = None,
) -> Environment:
    """An environment with what was said; everything else is Unknown.

    Args:
        facts: where GPU names and the CUDA of a torch without local label are looked up.
        gpu: a product or a compute capability, with a count, several joined by commas: `H100x8`, `sm_90`, `L4,T4`.
        driver: 570.86.
        torch: 2.8.0+cu128; without label the package index's CUDA; `none` for a machine without torch.
        python_version: 3.12, or 3.13t for free threading.
        glibc: 2.35.
        machine: x86_64 or aarch64.

    Raises:
        BadInput: a word that cannot be understood.
    """
    arch = None if machine is None else _machine(machine)
    said: dict[str, object] = {
        "gpus": NOT_SAID if gpu is None else _gpus(gpu, facts),
        "driver": NOT_SAID if driver is None else _driver(_version("driver", driver)),
        "python": NOT_SAID if python_version is None else _python(python_version, arch),
        "torch": NOT_SAID if torch is None else _torch(torch, facts),
        "host": NOT_SAID if glibc is None and machine is None else _host(glibc, arch),
    }
    return Environment(**{field.name: said.get(field.name, NOT_SAID) for field in fields(Environment)})  # type: ignore[arg-type]


def _version(what: str, text: str) -> Version:
    try:
        return Version(text)
    except ValueError as error:  # InvalidVersion is one, and so is a number of more digits than int() takes
        message = f"{what} {cut(text, 80)!r} is no version"
        raise BadInput(message) from error


def _machine(text: str) -> str:
    if text.lower() not in MACHINES:
        message = f"machine {text!r} is not known"
        raise BadInput(message, advice="It is x86_64 or aarch64.")
    return MACHINES[text.lower()]


def capability_of(name: str, facts: Facts) -> Capability:
    """The compute capability of a product, or one that is written out.

    Raises:
        BadInput: no such GPU, or a name that means several.
    """
    match = _CAPABILITY.fullmatch(name.strip().lower())
    if match:
        return Capability(major=int(match[1]), minor=int(match[2]))
    words = _WORD.findall(name.lower())
    found = {
        capability
        for capability, products in facts.gpus.products.items()
        for product in products.names
        if words and _means(words, product)
    }
    if len(found) == 1:
        return found.pop()
    meant = ", ".join(map(str, sorted(found)))
    shown = repr(cut(name, 80))
    message = f"GPU {shown} could have compute capability {meant}" if found else f"GPU {shown} is not known"
    raise BadInput(message, advice="Write its compute capability instead, as in --gpu sm_90.")


def _means(words: list[str], product: str) -> bool:
    """Every word of the name is among the product's words: RTX 5090 means GeForce RTX 5050/5060/5070/5080/5090."""
    return set(words) - {"nvidia"} <= set(_WORD.findall(product.lower()))


def _gpus(text: str, facts: Facts) -> Part[Gpus]:
    if text.strip().lower() == "none":
        return Absent(absent="described as a machine without GPU")
    devices: list[Gpu] = []
    for word in text.split(","):
        match = _COUNTED.fullmatch(word.strip())
        if match is None or int(match[2] or 1) == 0:
            message = f"GPU {cut(word, 80)!r} cannot be read"
            raise BadInput(message, advice="Write a product and a count, as in H100x8.")
        capability = capability_of(match[1], facts)
        devices += [_gpu(len(devices) + number, match[1], capability) for number in range(int(match[2] or 1))]
    return Gpus(devices=tuple(devices), source=GpuSource.DESCRIBED, visible_devices=NOT_SAID, on_bus=NOT_SAID)


def _gpu(index: int, name: str, capability: Capability) -> Gpu:
    return Gpu(
        index=index,
        name=name,
        uuid=NOT_SAID,
        bus_id=NOT_SAID,
        memory=NOT_SAID,
        memory_used=NOT_SAID,
        capability=capability,
        ecc=NOT_SAID,
        mig=NOT_SAID,
        processes=NOT_SAID,
        fabric=NOT_SAID,
        visible=NOT_SAID,
    )


def _driver(version: Version) -> Driver:
    return Driver(
        source=GpuSource.DESCRIBED,
        module=version,
        library=NOT_SAID,
        max_cuda=NOT_SAID,
        open_module=NOT_SAID,
        failure=NOT_SAID,
        compat_library=NOT_SAID,
        fabric_manager=NOT_SAID,
    )


def _python(text: str, machine: str | None) -> Python:
    match = _PYTHON.fullmatch(text.strip().removeprefix("cp"))
    if match is None:
        message = f"Python {text!r} cannot be read"
        raise BadInput(message, advice="Write it as 3.12, or 3.13t for free threading.")
    nowhere = Path("/")
    return Python(
        version=Version(f"3.{match[1]}"),
        implementation="cpython",
        executable=nowhere,
        prefix=nowhere,
        base_prefix=nowhere,
        kind=PythonKind.VENV,
        abi=f"cp3{match[1]}{match[2]}",
        platform=f"linux_{machine}" if machine else "linux",
        markers={},
        search_path=(),
        site_packages=(),
        user_site=NOT_SAID,
        pythonpath=(),
        managed=NOT_SAID,
        writable=True,
        pip=NOT_SAID,
        headers=NOT_SAID,
    )


def _torch(text: str, facts: Facts) -> Part[Torch]:
    if text.strip().lower() == "none":
        return Absent(absent="described as a machine without torch")
    version = _version("torch", text)
    cuda = _cuda(version, facts)
    known_cuda = cuda if isinstance(cuda, Version) else None
    build = facts.torch.build(version, known_cuda) if known_cuda else None
    vendor = "NVIDIA" if version.local and "nv" in version.local else Absent()
    return Torch(
        version=version,
        location=Path("/"),
        git=NOT_SAID,
        cuda=cuda,
        hip=version.local if version.local and version.local.startswith("rocm") else Absent(),
        vendor=vendor,
        cxx11abi=build.cxx11abi if build and vendor != "NVIDIA" else NOT_SAID,
        libraries=(),
    )


def _cuda(version: Version, facts: Facts) -> Part[Version]:
    """The CUDA of a torch by its local label; without one that of the package index's build."""
    if version.local is None:
        release = facts.torch.release(version)
        return release.cuda if release else Unknown(unknown=f"torch {version} is not a release that is known")
    match = _CUDA_TAG.fullmatch(version.local)
    if match:
        return Version(f"{match[1]}.{match[2]}")
    if version.local == "cpu" or version.local.startswith("rocm"):
        return Absent(absent=f"+{version.local} says so")
    return Unknown(unknown=f"+{version.local} does not tell it")


def _host(glibc: str | None, machine: str | None) -> Host:
    return Host(
        system="Linux",
        kernel="",
        machine=machine or "",
        hostname="described",
        distribution=NOT_SAID,
        habitat=Habitat.BARE,
        habitat_evidence="not described",
        libc=NOT_SAID if glibc is None else Libc(name="glibc", version=_version("glibc", glibc)),
        memory=NOT_SAID,
        cores=NOT_SAID,
        shm=NOT_SAID,
        target_disk=NOT_SAID,
        temp_disk=NOT_SAID,
        cache_disk=NOT_SAID,
    )
