"""Whether a wheel's tags (PyPA platform compatibility tags) fit the target's Python, not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.diagnose import words

if TYPE_CHECKING:
    from flash_doctor.model import Python


def misfit(tags: tuple[str, ...], python: Python) -> str | None:
    """Why none of the tags fits, in words; None when one fits or there are none.

    `tags` are expanded wheel tags such as `cp312-cp312-manylinux_2_28_x86_64`.
    """
    if not words.is_cpython(python):
        return None
    reasons = [_misfit(tag, python) for tag in tags]
    return reasons[0] if reasons and all(reasons) else None


def _misfit(tag: str, python: Python) -> str | None:
    parts = tag.split("-")
    if len(parts) != 3:
        return None
    interpreter, abi, platform = parts
    if not any(_abi_fits(one, abi, python) for one in interpreter.split(".")):
        return f"it is built for Python {interpreter}-{abi}, this Python is {python.abi}"
    machine = _machine(python)
    if platform != "any" and not any(one.endswith(machine) for one in platform.split(".")):
        return f"it is built for {platform}, this Python is for {python.platform}"
    return None


def _abi_fits(interpreter: str, abi: str, python: Python) -> bool:
    if abi == "none":
        return interpreter.startswith("py") or interpreter == _plain(python)
    if abi == "abi3":
        return not python.abi.endswith("t") and _minor(interpreter) <= python.version.minor
    return python.abi in abi.split(".")


def _plain(python: Python) -> str:
    return f"cp{python.version.major}{python.version.minor}"


def _minor(interpreter: str) -> int:
    """The minor version of a tag such as cp39."""
    digits = interpreter.removeprefix("cp3")
    return int(digits) if digits.isdigit() else 0


def _machine(python: Python) -> str:
    """`x86_64` of `linux_x86_64` or `manylinux_2_28_x86_64`."""
    return python.markers.get("platform_machine") or python.platform.partition("_")[2]
