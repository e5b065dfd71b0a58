"""P: the target's Python and the state of its environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.tags import misfit
from flash_doctor.model import Family, Hider, Package, Packages, Python, PythonKind, Remedy, Severity, known
from flash_doctor.rules.engine import CouldNotLook, Found
from flash_doctor.system.commands import advice, command, delete, install, uninstall
from flash_doctor.system.redact import cut

# Packages whose second copy has a rule of its own.
_OWN_RULE = ("torch", "flash-attn", "flash-attn-3", "flash-attn-4")


@check("P401", Family.PYTHON)
def another_python(python: Python) -> Iterator[Found]:
    """This Python is not CPython.

    torch and flash-attn publish compiled packages for CPython, the ordinary Python, only. PyPy and other
    implementations cannot load them.

    Check by hand: `python -c "import platform; print(platform.python_implementation())"`.

    What to do: make a virtual environment with CPython and install there.
    """
    if not words.is_cpython(python):
        yield Found(
            severity=Severity.ERROR,
            subject="python",
            summary=f"{python.implementation} cannot load torch or flash-attn: they are built for CPython only",
            evidence=(f"{python.executable} is {python.implementation} {python.version}",),
            remedy=advice("Make an environment with CPython.", command("python3 -m venv .venv")),
        )


@check("P402", Family.PYTHON)
def broken_metadata(packages: Packages) -> Iterator[Found]:
    """Metadata of an installed package cannot be read.

    Every installed package has a folder `NAME-VERSION.dist-info` with a file METADATA. Where it is empty, cut off
    or has no name, pip can neither upgrade nor remove the package, and programs that ask for its version fail with
    `No package metadata was found`.

    Check by hand: look at the named file.

    What to do: delete the named folder and install that package again.
    """
    closed = [broken for broken in packages.broken if broken.closed]
    broken = [each for each in packages.broken if not each.closed]
    if broken:
        yield Found(
            severity=Severity.WARNING,
            subject="packages",
            summary=f"{_count(len(broken), 'metadata folder')} cannot be read",
            evidence=words.listing(f"{each.path}: {each.why}" for each in broken),
            remedy=advice(
                "Delete these folders, then install the packages again.",
                *tuple(delete(each.path) for each in broken[:3]),
            ),
        )
    elif closed:
        more = f" (and {len(closed) - 1} more)" if closed[1:] else ""
        message = f"{closed[0].path} {closed[0].why}{more}"
        raise CouldNotLook(message)


@check("P403", Family.PYTHON)
def leftover_folders(packages: Packages) -> Iterator[Found]:
    """Folders of an interrupted install are lying about.

    pip renames a package's folders to `~ame` while it replaces them. When it is killed or the disk is full, they
    stay: they take up space, pip warns of an `invalid distribution` at each run, and the package whose name they
    carry may be half installed.

    Check by hand: `ls -d SITE-PACKAGES/~*`.

    What to do: delete them; if pip says that the package itself is missing, install it again.
    """
    folders = dict.fromkeys(leftover.parent for leftover in packages.leftovers)
    if folders:
        yield Found(
            severity=Severity.WARNING,
            subject="packages",
            summary=f"an install was interrupted: it left {_count(len(packages.leftovers), 'folder')} behind",
            evidence=words.listing(packages.leftovers),
            remedy=advice(
                "Delete them.",
                *(command("rm -r {}/~*", folder) for folder in folders),
            ),
        )


@check("P404", Family.PYTHON)
def pythonpath_packages(python: Python, packages: Packages) -> Iterator[Found]:
    """PYTHONPATH brings in packages from outside the environment.

    Folders in the variable PYTHONPATH come before the environment's own site-packages. A package found there hides
    the environment's, and may be built for another Python or another torch.

    Check by hand: `echo $PYTHONPATH`, and `python -c "import torch; print(torch.__file__)"`.

    What to do: unset PYTHONPATH, or remove the folder from it, in ~/.bashrc, the job script or the container.
    """
    outside = set(python.pythonpath).difference(python.site_packages)  # some name the environment's own folder
    foreign = [package for package in packages.distributions if package.location in outside]
    hidden = Counter(package.name for package in packages.distributions)
    doubles = sorted({package.name for package in foreign if hidden[package.name] > 1})
    wrong = any(misfit(package.tags, python) for package in foreign)
    if foreign:
        what = f", hiding the environment's {', '.join(doubles[:5])}" if doubles else ""
        yield Found(
            severity=Severity.WARNING if doubles or wrong else Severity.INFO,
            subject="PYTHONPATH",
            summary=f"PYTHONPATH brings {_count(len(foreign), 'package')} from outside this environment{what}",
            evidence=words.listing(f"{words.lies_in(package)}, which PYTHONPATH names" for package in foreign),
            about=tuple(doubles),
            remedy=advice("Start Python without it.", command("unset PYTHONPATH"))
            if doubles or wrong
            else Remedy(text="Nothing must be done if you meant it so."),
        )


@check("P405", Family.PYTHON)
def user_site_packages(python: Python, packages: Packages) -> Iterator[Found]:
    """Packages from the user's home folder enter this environment.

    `pip install --user` writes to ~/.local/lib/pythonX.Y/site-packages. A conda environment, and a venv made with
    --system-site-packages, read that folder too, and before their own: an old torch or flash-attn there hides the
    one of the environment.

    Check by hand: `python -m site` (ENABLE_USER_SITE), and `python -c "import torch; print(torch.__file__)"`.

    What to do: `export PYTHONNOUSERSITE=1`, or remove the packages from ~/.local.
    """
    foreign = [package for package in packages.distributions if package.in_user_site]
    if python.kind is PythonKind.SYSTEM or not foreign:
        return
    copies = Counter(package.name for package in packages.distributions)
    hiding = tuple(sorted({package.name for package in foreign if copies[package.name] > 1}))
    yield Found(
        severity=Severity.WARNING if hiding else Severity.INFO,
        subject="user site",
        summary=f"{_count(len(foreign), 'package')} in the user's home folder "
        + ("come before those of this environment" if hiding else "can be imported in this environment"),
        evidence=words.listing(words.lies_in(package) for package in foreign),
        about=hiding,
        remedy=advice("Keep the home folder out of this environment.", command("export PYTHONNOUSERSITE=1")),
    )


@check("P406", Family.PYTHON)
def managed_python(python: Python) -> Iterator[Found]:
    """The operating system manages this Python.

    A file EXTERNALLY-MANAGED (PEP 668) tells pip not to install here, because the system's own programs use this
    Python. Nothing is broken; but `flash-doctor fix` will not change such a Python.

    Check by hand: the named file exists.

    What to do: work in a virtual environment: `python3 -m venv .venv`.
    """
    if known(python.managed) is not None and python.kind is not PythonKind.VENV:
        yield Found(
            severity=Severity.INFO,
            subject="python",
            summary="this Python belongs to the operating system: packages go into a virtual environment",
            evidence=(f"EXTERNALLY-MANAGED lies in the standard library folder of {python.executable}",),
            remedy=advice(
                "Make a virtual environment and check that one.",
                command("{} -m venv .venv", python.executable),
                command("flash-doctor check --python .venv"),
            ),
        )


@check("P407", Family.PYTHON)
def read_only_target(python: Python) -> Iterator[Found]:
    """This environment cannot be written to.

    You may not write to its site-packages folder: it belongs to another user, or lies on a read-only file system (a
    shared module tree, a container image). Nothing is broken; but `flash-doctor fix` cannot change it.

    Check by hand: `test -w SITE-PACKAGES && echo writable`.

    What to do: make an environment of your own, or ask its owner.
    """
    if not python.writable:
        yield Found(
            severity=Severity.INFO,
            subject="python",
            summary="this environment is read-only for you: it can be checked, not changed",
            evidence=tuple(f"no write permission: {folder}" for folder in python.site_packages),
            remedy=advice("Make an environment of your own.", command("python3 -m venv .venv")),
        )


@check("P408", Family.PYTHON)
def doubled_packages(packages: Packages, python: Python) -> Iterator[Found]:
    """A package is installed twice.

    Two distributions of one name are on Python's path. In one folder that is an interrupted upgrade: the files are a
    mixture. In two folders the first hides the second, and `pip uninstall` removes only one of them, so that the
    other comes to light.

    Check by hand: look for the named folders.

    What to do: uninstall until pip says it is not installed, then install once.
    """
    for name, copies in _doubles(packages):
        if any(package.in_user_site or package.location in python.pythonpath for package in copies):
            continue  # P404 and P405 tell of these
        yield Found(
            severity=Severity.WARNING,
            subject=name,
            summary=f"{name} is installed {len(copies)} times: "
            + ", ".join(package.raw_version for package in copies)
            + f"; Python uses {copies[0].raw_version}",
            evidence=tuple(words.lies_in(package) for package in copies),
            remedy=advice(
                "Uninstall until none is left, then install one.",
                uninstall(python, name),
                install(python, f"{name}=={copies[0].raw_version}"),
            ),
        )


def _doubles(packages: Packages) -> Iterator[tuple[str, tuple[Package, ...]]]:
    """Names with several copies, the copies in the order in which Python meets them."""
    by_name = sorted(packages.distributions, key=lambda package: package.name)
    for name, group in groupby(by_name, key=lambda package: package.name):
        copies = tuple(group)
        # Debian writes an egg-info beside some dist-info: one package, described twice
        several = len({(copy.raw_version, copy.location) for copy in copies}) > 1
        if several and name not in _OWN_RULE:
            yield name, copies


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


_VARIABLES = ("PYTHONHOME", "PYTHONPATH")


@check("P412", Family.PYTHON)
def start_fails(python: Python, variables: Mapping[str, str]) -> Iterator[Found]:
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
        yield Found(
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
def startup_file_fails(python: Python) -> Iterator[Found]:
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
        yield Found(
            severity=Severity.WARNING,
            subject="python",
            summary="a start-up file fails at every start of this Python, and what it should do is left out",
            evidence=words.listing(start.complaints),
            remedy=Remedy(text="Delete the file if its package is gone, or install the package again."),
        )
    elif start.printed.strip():
        yield Found(
            severity=Severity.WARNING,
            subject="python",
            summary="a start-up file prints something at every start of this Python",
            evidence=(f"before any program, stdout gets: {cut(' '.join(start.printed.split()), 100)!r}",),
            remedy=Remedy(text="Take the printing out of sitecustomize.py, usercustomize.py or the .pth file."),
        )


@check("P409", Family.PYTHON)
def unfinished_fix(packages: Packages) -> Iterator[Found]:
    """A fix was cut off half way.

    `flash-doctor fix` was killed, or the machine went down, while it exchanged files; old and new ones may lie side by
    side. Nothing is lost: its journal lists every file that it touched, and the old ones are kept beside it. (While a
    fix is running, this is told too; then wait for its end.)

    Check by hand: the named folder holds `journal.json` and no file `done`.

    What to do: `flash-doctor rollback --unfinished` brings back the state before that fix; the next `flash-doctor fix`
    does so by itself.
    """
    for folder in packages.unfinished:
        yield Found(
            severity=Severity.ERROR,
            subject="environment",
            summary="a fix was cut off half way, and the environment is neither the old one nor the new one",
            evidence=(f"an unfinished journal: {folder / 'journal.json'}",),
            remedy=advice("Bring back the state before it.", command("flash-doctor rollback --unfinished")),
        )
