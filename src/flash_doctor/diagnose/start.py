"""P: how the target's Python starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.model import Family, Finding, Hider, Python, Remedy, Severity, known
from flash_doctor.system.commands import advice, command
from flash_doctor.system.redact import cut

_VARIABLES = ("PYTHONHOME", "PYTHONPATH")


@check("P412", Family.PYTHON)
def start_fails(python: Python, variables: Mapping[str, str]) -> Iterator[Finding]:
    """This Python does not start as things are set here.

    Before it runs a line of yours, Python looks for its standard library (PYTHONHOME moves it), loads modules that a
    file on PYTHONPATH may hide, and runs sitecustomize.py, usercustomize.py and the code in .pth files. One of these
    ends or hangs it: `Fatal Python error: init_fs_encoding`, `No module named 'encodings'`. No program of this Python
    can run until that is gone; the rest of this report was read with that switched off.

    Check by hand: `PYTHON -c pass` fails, `PYTHON -E -c pass` (without the variables) or `PYTHON -E -S -c pass`
    (without start-up files, too) does not.

    What to do: unset the variable, or delete the start-up file.
    """
    if python.start.failure:
        yield Finding(
            code="P412",
            severity=Severity.ERROR,
            subject="python",
            summary="this Python does not start: "
            + ("a start-up file ends or hangs it" if python.start.bare else "PYTHONHOME or PYTHONPATH leads it astray"),
            evidence=(
                *(_suspects(python) if python.start.bare else _set(python, variables)),
                *python.start.failure,
            ),
            remedy=_repair(python),
        )


def _set(python: Python, variables: Mapping[str, str]) -> tuple[str, ...]:
    named = [f"{name} is {variables[name]}" for name in _VARIABLES if variables.get(name)]
    hidden = [shadow for shadow in known(python.shadows) or () if shadow.hider is Hider.PYTHONPATH]
    worked = f"without these variables it starts: {python.executable} -E -c pass"
    return (*named, *words.listing(f"{shadow.path} hides {shadow.hides}" for shadow in hidden), worked)


def _suspects(python: Python) -> tuple[str, ...]:
    worked = f"without start-up files it starts: {python.executable} -E -S -c pass"
    places = ", ".join(str(folder) for folder in python.site_packages)
    return (worked, f"sitecustomize.py, usercustomize.py or a .pth file with code, as a rule in {places}")


def _repair(python: Python) -> Remedy:
    if not python.start.bare:
        return advice("Start Python without them.", command("unset PYTHONHOME PYTHONPATH"))
    searches = (command("grep -H import {}/*.pth {}/*customize.py", folder, folder) for folder in python.site_packages)
    return advice("Find the start-up file, and delete it or repair it.", *searches)


@check("P413", Family.PYTHON)
def startup_file_fails(python: Python) -> Iterator[Finding]:
    """A start-up file of this Python fails, or prints something.

    sitecustomize.py, usercustomize.py and lines beginning with `import` in .pth files run at every start of Python.
    When one fails, as after the package that brought it was removed, the rest of that file is left out: paths that it
    adds are missing. What it prints appears in the output of every program, and pip, uv and torch's compilers, which
    start Python and read its answer, stumble over it.

    Check by hand: `PYTHON -c pass` prints something.

    What to do: delete the file if its package is gone, or install the package again.
    """
    start = python.start
    if start.complaints:
        yield Finding(
            code="P413",
            severity=Severity.WARNING,
            subject="python",
            summary="a start-up file fails at every start of this Python, and what it should do is left out",
            evidence=words.listing(start.complaints),
            remedy=Remedy(text="Delete the file if its package is gone, or install the package again."),
        )
    elif start.printed.strip():
        yield Finding(
            code="P413",
            severity=Severity.WARNING,
            subject="python",
            summary="a start-up file prints something at every start of this Python",
            evidence=(f"before any program, stdout gets: {cut(' '.join(start.printed.split()), 100)!r}",),
            remedy=Remedy(text="Take the printing out of sitecustomize.py, usercustomize.py or the .pth file."),
        )
