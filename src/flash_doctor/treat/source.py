"""Where the source of a Build step is: asked of the package index that pip would use (PEP 691)."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from flash_doctor.address import public
from flash_doctor.command import Command, SystemRunner
from flash_doctor.errors import NoPlanFound
from flash_doctor.model.plan import Build

if TYPE_CHECKING:
    from flash_doctor.model.plan import Plan
    from flash_doctor.treat.options import Options

_ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json"}
_LIMIT = 64 << 20
# the default of pip itself, which no setting shows
_DEFAULT = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def settle_sources(plan: Plan, options: Options) -> Plan:
    """The plan with address and hash of every source distribution.

    Raises:
        NoPlanFound: the index has no such source distribution, or no network may be used.
        HttpError: it could not be read.
    """
    return replace(
        plan, steps=tuple(_settled(step, options) if isinstance(step, Build) else step for step in plan.steps)
    )


def _settled(step: Build, options: Options) -> Build:
    if step.url is not None:
        return step
    if not options.sources.network:
        message = f"the plan does not say where the source of {step.requirement} is, and no network may be used"
        raise NoPlanFound(message, advice="Make the bundle again with flash-doctor bundle, which writes that down.")
    found = _on_index(step, index_url())
    return replace(step, url=found["url"], sha256=found["hashes"].get("sha256"), size=found.get("size"))


def index_url() -> str:
    """The simple index that pip uses here: its settings, else its default."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if found := os.environ.get(name):
            return found
    pip = (sys.executable, "-m", "pip", "config", "get", "global.index-url")
    configured = SystemRunner().run(Command(argv=pip))
    if configured.returncode == 0 and configured.text.strip():
        return configured.text.strip()
    return SystemRunner().run(Command(argv=(sys.executable, "-c", _DEFAULT))).text.strip()


def _on_index(step: Build, index: str) -> dict[str, Any]:
    from flash_doctor.http import get_json

    page = f"{index.rstrip('/')}/{step.name}/"
    version = step.requirement.partition("==")[2]
    wanted = {f"{name}-{version}.tar.gz" for name in (step.name, step.name.replace("-", "_"))}
    answer = get_json(page, limit=_LIMIT, headers=_ACCEPT)
    files = answer.get("files", []) if isinstance(answer, dict) else []
    for file in files:
        if file.get("filename") in wanted:
            return {**file, "url": urljoin(page, file["url"]).partition("#")[0]}
    message = f"{public(page)} has no source distribution of {step.requirement}"
    raise NoPlanFound(message, evidence=(f"looked for {' or '.join(sorted(wanted))} among {len(files)} files",))
