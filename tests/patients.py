"""Reports to be rendered: built from the model's own values, the sick ones as a machine would give them."""

from __future__ import annotations

from pathlib import Path

from packaging.version import Version

from flash_doctor.model import (
    Absent,
    Capability,
    CommandLine,
    Driver,
    Environment,
    Family,
    Finding,
    FlashAttention,
    Goal,
    Gpu,
    Gpus,
    GpuSource,
    Remedy,
    Report,
    Score,
    Severity,
    Target,
    Torch,
    Unchecked,
    Unknown,
)

FAMILIES = {
    "D001": Family.DRIVER,
    "G001": Family.GPU,
    "T001": Family.TORCH,
    "L001": Family.LIBRARIES,
    "F001": Family.FLASH,
    "F002": Family.FLASH,
    "H001": Family.HOST,
    "H002": Family.HOST,
}
NOWHERE = Unknown(unknown="not looked at")

H200 = Gpu(
    index=0,
    name="NVIDIA H200",
    uuid="GPU-0",
    bus_id="0000:01:00.0",
    memory=150_754_820_096,
    memory_used=0,
    capability=Capability(major=9, minor=0),
    ecc=True,
    mig=False,
    processes=(),
    fabric=Absent(),
    visible=True,
)
GPUS = Gpus(devices=(H200, H200), source=GpuSource.NVML, visible_devices=Absent(), on_bus=2)
DRIVER = Driver(
    source=GpuSource.NVML,
    module=Version("580.95.5"),
    library=Version("580.95.5"),
    max_cuda=Version("13.0"),
    open_module=True,
    failure=Absent(),
    compat_library=Absent(),
    fabric_manager=Absent(),
)
TORCH = Torch(
    version=Version("2.13.0+cu130"),
    location=Path("/venv/lib/python3.12/site-packages/torch"),
    git=Absent(),
    cuda=Version("13.0"),
    hip=Absent(),
    vendor=Absent(),
    cxx11abi=True,
    libraries=("libc10.so",),
)


def commands(*lines: str) -> tuple[CommandLine, ...]:
    """Lines as a report holds them, which need not be ours."""
    return tuple(CommandLine(line) for line in lines)


def environment(**parts: object) -> Environment:
    blank: dict[str, object] = dict.fromkeys(Environment.__dataclass_fields__, NOWHERE)
    whole = {
        "gpus": GPUS,
        "driver": DRIVER,
        "torch": TORCH,
        "flash": FlashAttention(packages=(), modules=(), extensions=()),
    }
    return Environment(**{**blank, **whole, **parts})  # type: ignore[arg-type]


def finding(code: str, severity: Severity, subject: str, summary: str = "It is wrong.", **more: object) -> Finding:
    values: dict[str, object] = {"evidence": (), **more}
    return Finding(code=code, severity=severity, subject=subject, summary=summary, **values)  # type: ignore[arg-type]


def report(*findings: Finding, unchecked: tuple[Unchecked, ...] = (), checked: int = 61, **parts: object) -> Report:
    return Report(
        target=Target(python=Path("/home/ada/train/.venv/bin/python"), why="$VIRTUAL_ENV names it"),
        environment=environment(**parts),
        findings=findings,
        unchecked=unchecked,
        score=Score(
            value=max(0, 100 - 20 * len(findings)) if checked else None,
            checked=checked,
            applicable=checked + len(unchecked),
        ),
    )


def broken() -> Report:
    return report(
        finding(
            "H001",
            Severity.WARNING,
            "/home",
            "The disk is 71 % full.",
            evidence=("statvfs: 290 GB of 1000 GB free",),
        ),
        finding(
            "F001",
            Severity.ERROR,
            "flash-attn",
            "The compiled extension of flash-attn was built for another torch than the one installed.",
            evidence=(
                "/venv/lib/python3.12/site-packages/flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so needs "
                "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb",
                "libc10_cuda.so of torch 2.13.0+cu130 does not export it",
            ),
            remedy=Remedy(
                text="Replace flash-attn by a build for this torch.",
                commands=commands(
                    "/home/ada/train/.venv/bin/python -m pip install --force-reinstall --no-deps "
                    "flash_attn-2.8.3+cu13torch2.13cxx11abiTRUE-cp312-cp312-linux_x86_64.whl",
                ),
                goal=Goal(),
            ),
        ),
        finding(
            "T001",
            Severity.ERROR,
            "torch",
            "Files of torch are missing.",
            evidence=tuple(f"gone: {n}" for n in range(20)),
        ),
        finding("H002", Severity.INFO, "host", "This is a container."),
        unchecked=(
            Unchecked(code="D001", why="NVML did not answer within 5 seconds"),
            Unchecked(code="G001", why="NVML did not answer within 5 seconds"),
            Unchecked(code="L001", why="LD_LIBRARY_PATH holds a folder that cannot be read"),
        ),
        checked=58,
    )


def healthy() -> Report:
    return report()


def warned() -> Report:
    return report(finding("H001", Severity.WARNING, "/home", "The disk is 71 % full."))


def blind() -> Report:
    why = "this kernel shows no /proc"
    return report(
        unchecked=tuple(Unchecked(code=code, why=why) for code in FAMILIES),
        checked=0,
        gpus=NOWHERE,
        driver=NOWHERE,
        torch=NOWHERE,
        flash=NOWHERE,
    )


def hostile() -> Report:
    """Names and paths that try to colour, to clear the screen, to reorder, to break the line, to be markup."""
    return report(
        finding(
            "T001",
            Severity.ERROR,
            "[bold]torch[/bold]",
            "\x1b[2J\x1b]0;owned\x07 [red]not[/red] \u202egnp.exe\nHealthy: no problem found.",
            evidence=("/tmp/\udcff\x9b31m/[link=x]y[/link]", "tab\there\rback"),
            remedy=Remedy(text="[/] :smile:", commands=commands("rm '[bold]a\x1b[A'")),
        ),
        gpus=Unknown(unknown="\x1b[31mred"),
    )


PATIENTS = {"broken": broken, "healthy": healthy, "warned": warned, "blind": blind, "hostile": hostile}
