"""FlashAttention in all its shapes: distributions, modules that an import would meet, compiled extension files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, FlashAttention, FlashKind, FlashModule, Package, Packages, Part, Python, Unknown
from flash_doctor.probe.packages import importable, version_in
from flash_doctor.probe.torch import editable_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.version import Version

DISTRIBUTIONS = {
    "flash-attn": FlashKind.FA2,
    "flash-attn-3": FlashKind.FA3,
    "flashattn-hopper": FlashKind.FA3,
    "flash-attn-4": FlashKind.FA4,
}
# Compiled files lie beside the packages or in flash_attn_3/; the later ones are optional parts of the same project.
_EXTENSION = re.compile(
    r"(flash_attn_2_cuda|flash_attn_cuda|flash_attn_3_cuda|flashattn_hopper_cuda|dropout_layer_norm|fused_dense_lib"
    r"|rotary_emb|xentropy_cuda_lib|ft_attention|fused_softmax_lib)(\.[\w-]+)*\.(so|pyd)"
)
_FA3_EXTENSION = re.compile(r"_C(\.[\w-]+)*\.(so|pyd)")


def read_flash(python: Python, packages: Packages, owners: Mapping[Path, str], folder: Path) -> Part[FlashAttention]:
    """All of the family that is there.

    Args:
        python: the target's interpreter; what is imported from outside of its site-packages shadows.
        packages: the target's distributions.
        owners: extension file to the distribution whose RECORD lists it.
        folder: the current folder, which `python -m` and `python -c` put first on sys.path.
    """
    distributions = tuple(package for package in packages.distributions if package.name in DISTRIBUTIONS)
    here = [folder] * os.access(folder, os.X_OK)  # what is closed to us is closed to an import
    folders = _each_once([*here, *importable(python), *_editable(distributions)])
    sites = {os.path.realpath(site) for site in _sites(python)}
    modules = tuple(module for place in folders for module in _modules(place, os.path.realpath(place) in sites))
    extensions = tuple(path for place in folders for path in _extensions(place))
    if not (distributions or modules or extensions):
        return Absent(absent="not installed: no package, module or compiled file of it on the target's sys.path")
    return FlashAttention(
        packages=distributions,
        modules=modules,
        extensions=extensions,
        owners={str(path): owners[path] for path in extensions if path in owners},
    )


def _sites(python: Python) -> list[Path]:
    return [*python.site_packages, *([python.user_site] if isinstance(python.user_site, Path) else [])]


def _editable(packages: Iterable[Package]) -> list[Path]:
    return [path.parent for package in packages for path in editable_folders(package, "flash_attn")]


def _each_once(folders: Iterable[Path]) -> list[Path]:
    return list({os.path.realpath(folder): folder for folder in reversed([*folders])}.values())[::-1]


def _modules(place: Path, in_site: bool) -> Iterator[FlashModule]:
    """What `import` would find in this folder; a folder without __init__.py only counts for what is inside it."""
    for name, source, kind in (
        ("flash_attn", place / "flash_attn" / "__init__.py", None),
        ("flash_attn_interface", place / "flash_attn_interface.py", FlashKind.FA3),
        ("flash_attn_3", place / "flash_attn_3" / "__init__.py", FlashKind.FA3),
        ("flash_attn_3.flash_attn_interface", place / "flash_attn_3" / "flash_attn_interface.py", FlashKind.FA3),
        ("flash_attn.cute", place / "flash_attn" / "cute" / "__init__.py", FlashKind.FA4),
    ):
        if source.is_file():
            version = version_in(source)
            path = source.parent if source.name == "__init__.py" else source
            kind = kind or _generation(version, place)
            yield FlashModule(kind=kind, name=name, path=path, version=version, in_site_packages=in_site)


def _generation(version: Part[Version], place: Path) -> FlashKind:
    """FlashAttention 1 or 2, which share the module name: by version, else by the extension file beside it."""
    if isinstance(version, (Absent, Unknown)):
        old = any(place.glob("flash_attn_cuda*")) and not any(place.glob("flash_attn_2_cuda*"))
        return FlashKind.FA1 if old else FlashKind.FA2
    return FlashKind.FA1 if version.major < 2 else FlashKind.FA2


def _extensions(place: Path) -> Iterator[Path]:
    yield from _matching(place, _EXTENSION)
    yield from _matching(place / "flash_attn_3", _FA3_EXTENSION)


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 only the few that match become paths
    except OSError:
        return []
    return [folder / name for name in sorted(names) if pattern.fullmatch(name)]
