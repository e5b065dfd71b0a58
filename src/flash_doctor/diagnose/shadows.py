"""T, P: files of the current folder or of PYTHONPATH that are imported instead of what is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import Absent, Family, Hider, Packages, Python, Remedy, Severity, Shadow, Unknown
from flash_doctor.rules.engine import Found, need
from flash_doctor.system.commands import advice, command

if TYPE_CHECKING:
    from pathlib import Path

# These have rules of their own: T512 and F606.
_OWN_RULE = ("torch", "flash_attn")


@check("T512", Family.TORCH)
def torch_hidden(python: Python, packages: Packages) -> Iterator[Found]:
    """A file or folder named torch hides the installed torch.

    Python looks for `torch` in the folder of the script first (with `python -c`, `python -m` and in notebooks: in the
    current folder), then along PYTHONPATH, then among the installed packages. A script named `torch.py`, or a checkout
    of PyTorch's sources, is imported instead of the installed torch: `partially initialized module 'torch' has no
    attribute ...`, `Failed to load PyTorch C extensions`. The doctor knows the folder in which it was started and
    PYTHONPATH, not the folder of your script: start it where you start training.

    Check by hand: `python -c "import torch; print(torch.__file__)"`, in that folder and in another one.

    What to do: rename the file, start from another folder, or take the folder off PYTHONPATH.
    """
    for shadow in shadows(python, packages, ("torch",)):
        yield Found(
            severity=Severity.ERROR if shadow.lacks_compiled else Severity.WARNING,
            subject="torch",
            summary=f"{shadow.path} hides the installed torch {_where(shadow)}",
            evidence=evidence(shadow),
            remedy=remedy(shadow),
        )


@check("P410", Family.PYTHON)
def standard_library_hidden(python: Python, facts: Facts) -> Iterator[Found]:
    """A file is named like a module of the standard library that torch needs.

    Python takes the first `random.py`, `logging.py` or `types.py` on its path, and the folder of the script (with
    `python -c` and `python -m` the current folder) and PYTHONPATH come before the standard library. Importing torch
    then fails in a strange place: `partially initialized module 'random'`, `module 'types' has no attribute ...`,
    `cannot import name ... from 'enum'`. The doctor knows the folder in which it was started and PYTHONPATH, not the
    folder of your script: start it where you start training.

    Check by hand: `python -c "import NAME; print(NAME.__file__)"`, in that folder and in another one.

    What to do: rename the file and delete its `__pycache__`, or take the folder off PYTHONPATH.
    """
    hiding = [shadow for shadow in _all(python) if not _installed(shadow, python)]
    needed = [shadow for shadow in hiding if shadow.name in facts.quirks.torch_needs]
    if needed:
        first = needed[0]
        more = f" and {len(needed) - 1} more hide" if needed[1:] else " hides"
        yield Found(
            severity=Severity.WARNING,
            subject="standard library",
            summary=f"{first.path}{more} Python's own module {first.name}, which torch needs, {_where(first)}",
            evidence=(
                *words.listing(f"{shadow.path} comes before {shadow.hides}" for shadow in needed),
                _order(first),
            ),
            remedy=remedy(first),
        )


@check("P411", Family.PYTHON)
def package_hidden(python: Python, packages: Packages) -> Iterator[Found]:
    """A file or folder hides an installed package of the same name.

    A file `datasets.py` beside the training script, or a checkout of a compiled package (vllm, xformers, bitsandbytes)
    that training is started in, is imported instead of the installed package: `cannot import name 'load_dataset'
    from 'datasets'`, `No module named 'vllm._C'`. The doctor knows the folder in which it was started and PYTHONPATH,
    not the folder of your script: start it where you start training. The source tree of a package without compiled
    parts is passed over: it works in place of the installed one.

    Check by hand: `python -c "import NAME; print(NAME.__file__)"`, in that folder and in another one.

    What to do: rename the file, start from another folder, or take the folder off PYTHONPATH.
    """
    from_index = {package.name for package in packages.distributions if isinstance(package.url, Absent)}
    names = {shadow.name for shadow in _all(python) if canonicalize_name(shadow.name) in from_index}
    for shadow in shadows(python, packages, names.difference(_OWN_RULE)):
        if _installed(shadow, python) and (shadow.lacks_compiled or not shadow.source_tree):
            yield Found(
                severity=Severity.WARNING,
                subject=shadow.name,
                summary=f"{shadow.path} hides the installed {shadow.name} {_where(shadow)}",
                evidence=evidence(shadow),
                remedy=remedy(shadow),
            )


def shadows(python: Python, packages: Packages, names: Iterable[str]) -> list[Shadow]:
    """What hides these modules, but for what a distribution brought there: P404 and T506 tell of that.

    Raises:
        CouldNotLook: a folder could not be read.
    """
    wanted = set(names)
    owned = {(package.location, module) for package in packages.distributions for module in _modules(package.name)}
    return [
        shadow for shadow in _all(python) if shadow.name in wanted and (shadow.path.parent, shadow.name) not in owned
    ]


def _modules(name: str) -> tuple[str, str]:
    return name, name.replace("-", "_")


def _all(python: Python) -> tuple[Shadow, ...]:
    return need(python.shadows, absent=())


def _installed(shadow: Shadow, python: Python) -> bool:
    """Whether what is hidden is an installed package, not the standard library's."""
    sites: tuple[Path | Absent | Unknown, ...] = (*python.site_packages, python.user_site)
    return shadow.hides.parent in sites


def _where(shadow: Shadow) -> str:
    return "from programs started here" if shadow.hider is Hider.CURRENT_FOLDER else "through PYTHONPATH"


def evidence(shadow: Shadow) -> tuple[str, ...]:
    """What hides what, how it comes first, and what it lacks."""
    compiled = "the installed one has compiled files (.so), this one has none" if shadow.lacks_compiled else ""
    tree = f"{shadow.path.parent} is a source tree" if shadow.source_tree else ""
    first = f"{shadow.path} comes before {shadow.hides} on Python's path"
    return tuple(filter(None, (first, _order(shadow), compiled, tree)))


def _order(shadow: Shadow) -> str:
    """How we know that it comes first, and what we cannot know."""
    if shadow.hider is Hider.PYTHONPATH:
        return f"PYTHONPATH names {shadow.path.parent} (an empty entry in it names the current folder)"
    return (
        f"flash-doctor was started in {shadow.path.parent}: `python -c`, `python -m` and notebooks look there first, "
        "`python script.py` in the script's folder"
    )


def remedy(shadow: Shadow) -> Remedy:
    """Off the path with it: renamed where it is somebody's own file."""
    if shadow.hider is Hider.PYTHONPATH:
        return advice(f"Take {shadow.path.parent} off PYTHONPATH.", command("unset PYTHONPATH"))
    if shadow.source_tree:
        return Remedy(text="Start from another folder.")
    renamed = shadow.path.with_name(f"my_{shadow.path.name}")
    return advice("Rename it.", command("mv {} {}", shadow.path, renamed))
