"""Real dist-info folders, written into a real environment by a test."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def site_of(venv: Path) -> Path:
    """The site-packages folder of a virtual environment."""
    return next((venv / "lib").glob("python3*/site-packages"))


def install(
    site: Path,
    name: str,
    version: str,
    *,
    header: str = "",
    files: Mapping[str, str | bytes] | None = None,
    info: Mapping[str, str] | None = None,
    record: bool = True,
) -> Path:
    """Write a distribution as an installer would; the dist-info folder.

    `header` are more lines of METADATA; `files` go into site-packages, `info` into the dist-info folder.
    """
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    written = {
        f"{folder.name}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{header}\nLong text\n",
        **{f"{folder.name}/{key}": text for key, text in (info or {}).items()},
        **(files or {}),
    }
    rows = [row_of(site, path, content) for path, content in written.items()]
    if record:
        (folder / "RECORD").write_text("\n".join([*rows, f"{folder.name}/RECORD,,\n"]), encoding="utf-8")
    return folder


def row_of(site: Path, path: str, content: str | bytes) -> str:
    """Write one file and give its row of RECORD."""
    data = content.encode() if isinstance(content, str) else content
    (site / path).parent.mkdir(parents=True, exist_ok=True)
    (site / path).write_bytes(data)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    quoted = f'"{path}"' if "," in path else path
    return f"{quoted},sha256={digest},{len(data)}"
