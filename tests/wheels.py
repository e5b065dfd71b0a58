"""Real wheels, built in the test from a table of files."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def build_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str],
    *,
    tag: str = "py3-none-any",
    requires: tuple[str, ...] = (),
    metadata_version: str | None = None,
) -> Path:
    """A wheel file; `metadata_version` differs from `version` when the local tag stands in the file name alone."""
    stem = name.replace("-", "_")
    version_inside = metadata_version or version
    info = f"{stem}-{version_inside}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version_inside}\n"
    content: dict[str, bytes] = {
        **{path: text.encode() if isinstance(text, str) else text for path, text in files.items()},
        f"{info}/METADATA": (metadata + "".join(f"Requires-Dist: {line}\n" for line in requires)).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    path = folder / f"{stem}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in content.items():
            archive.writestr(entry, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
