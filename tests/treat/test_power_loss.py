"""What a power cut would find, argued from the order of fsync and rename that a trace of a real fix shows.

The promise: before the first file moves, the journal and its name are on the disk; before the word `done`, so are the
content of every new file and the names in every folder that was touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.install.journal import FOLDER
from mutations import compile_shim

if TYPE_CHECKING:
    from pathlib import Path

    from clinic import Clinic


def test_the_order_of_what_reaches_the_disk(clinic: Clinic) -> None:
    clinic.flash("2.8.1")
    clinic.einops()
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    clinic.flash("2.8.3")
    trace, counter = clinic.folder / "trace", clinic.folder / "counter"
    counter.write_bytes(bytes(8))
    clinic.environment = {
        "LD_PRELOAD": str(compile_shim(clinic.folder)),
        "MUTATING_BELOW": str(clinic.venv),
        "MUTATING_COUNTER": str(counter),
        "MUTATING_TRACE": str(trace),
    }
    assert clinic.fix("--want", "flash-attn==2.8.3").returncode == 0
    state = clinic.site / FOLDER
    (journal,) = (path for path in state.iterdir() if (path / "done").exists())
    lines = trace.read_text().splitlines()

    def at(what: str, path: Path) -> int:
        return lines.index(f"{what} {path}")

    written, promised = at("fsync", journal / "journal.json.draft"), at("rename", journal / "journal.json")
    named = min(place for place, line in enumerate(lines) if line == f"fsync {journal}" and place > promised)
    first_move = min(place for place, line in enumerate(lines) if line.startswith(f"rename {journal / 'old'}"))
    assert written < promised < named < first_move
    done = at("rename", journal / "done")
    arrived = [path for path in (clinic.site / "flash_attn").rglob("*") if path.is_file()]
    assert len(arrived) > 3
    for path in [*arrived, *clinic.site.glob("flash_attn-2.8.3.dist-info/*"), *clinic.site.glob("flash_attn_2_cuda*")]:
        assert at("rename", path) < at("fsync", path) < done, path
        named = max(place for place, line in enumerate(lines[:done]) if line == f"fsync {path.parent}")
        assert named > at("rename", path), f"the name of {path} reaches the disk"
