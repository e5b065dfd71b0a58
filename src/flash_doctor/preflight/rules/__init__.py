"""The rules of `doctor preflight`, by theme; the modules are found by listing this folder."""

from __future__ import annotations

import pkgutil
from importlib import import_module


def load_rules() -> None:
    """Import every module of this folder, so that its rules are registered."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
