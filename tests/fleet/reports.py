"""Reports of made-up nodes: the healthy recorded machine under many names, each with what differs on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]
OLD_TORCH = {"torch": {"version": "2.7.1+cu126", "cuda": "12.6"}}
OLD_FLASH = {"flash": {"modules": [{"kind": "flash-attn 2", "version": "2.6.3"}]}}


# the environment in a real report's form: two H100, torch 2.8.0, flash-attn 2.8.3
_HEALTHY = Path(__file__).with_name("healthy-node.json").read_text(encoding="utf-8")


def merge(base: Any, patch: Any) -> Any:
    """Objects merge; anything else, and the markers `absent` and `unknown`, replaces."""
    objects = isinstance(base, dict) and isinstance(patch, dict)
    if not objects or patch.keys() in ({"absent"}, {"unknown"}) or base.keys() in ({"absent"}, {"unknown"}):
        return patch
    return {**base, **{key: merge(base.get(key), value) for key, value in patch.items()}}


def document(name: str, differs: Json | None = None, *, findings: Iterable[Json] = (), **top: Any) -> Json:
    """The document of `check` on that node; `differs` is a merge patch on its environment."""
    environment = merge(json.loads(_HEALTHY), {"host": {"hostname": name}})
    return {
        "schema": "flash-doctor/report/1",
        "target": {"python": "/opt/train/bin/python", "why": "recorded"},
        "environment": merge(environment, differs or {}),
        "findings": list(findings),
        "unchecked": [],
        "score": {"value": 100, "checked": 60, "applicable": 60},
        "verdict": "healthy",
        "exit_code": 0,
        **top,
    }


def text(name: str, differs: Json | None = None, **more: Any) -> str:
    return json.dumps(document(name, differs, **more))


def finding(code: str, *, plannable: bool = False) -> Json:
    remedy = {"text": "x", "commands": [], "goal": {"wanted": ["flash-attn"], "keep": [], "allow": []}}
    return {
        "code": code,
        "severity": "error",
        "subject": "flash-attn",
        "summary": f"{code} is wrong.",
        "evidence": [],
        "remedy": remedy if plannable else None,
    }


def folder(place: Path, documents: Iterable[str]) -> Path:
    place.mkdir(exist_ok=True)
    for index, content in enumerate(documents):
        (place / f"file{index}.json").write_text(content)
    return place


def many(count: int) -> Iterable[str]:
    """Lines of a fleet: every hundredth node with another torch, every 250th with a variable."""
    whole = text("HOSTNAME")
    torch = text("HOSTNAME", OLD_TORCH)
    variable = text("HOSTNAME", {"variables": {"NCCL_PROTO": "LL"}})
    for number in range(1, count + 1):
        chosen = torch if number % 100 == 7 else variable if number % 250 == 9 else whole
        yield chosen.replace("HOSTNAME", f"gpu{number:06d}")
