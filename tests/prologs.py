"""A node's doctor, settings and log for the scripts that slurmd runs, and the answers that a doctor may give."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PROLOG, HEALTH_CHECK = ROOT / "scripts" / "slurm-prolog", ROOT / "scripts" / "slurm-health-check"
NVML = ROOT / "tests" / "probe" / "nvml" / "machine.c"
HEALTHY = "printf 'No problem found.\\n\\nScore: 100/100\\n'"
FOUND = 'BROKEN at driver: 1 error.\\n\\n1 error\\n  D203 driver: it\'s \\"gone\\"\\n'
SICK = f'printf "{FOUND}\\nScore: 0/100\\n"; exit 1'
BLIND = "printf 'No problem found\\n\\n2 checks could not be made\\n  - NVML gave no answer (D203)\\n'; exit 6"


@dataclass
class Node:
    """A node of a cluster: the doctor that its settings name, and a logger whose log can be read."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def script(self, name: str, text: str) -> Path:
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        return file

    def doctor(self, text: str) -> Path:
        return self.script("flash-doctor", text)

    def configured(self, **settings: str) -> Path:
        self.script("logger", f'printf "%s\\n" "${{@: -1}}" >>{self.folder}/log')
        standing = {"PATH": f"{self.folder}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "FLASH_DOCTOR_TIME_LIMIT": "20"}
        file = self.folder / "prolog.conf"
        file.write_text("# settings\n\n" + "".join(f"{k}={v}\n" for k, v in {**standing, **settings}.items()))
        file.chmod(0o600)
        return file

    def prolog(self, file: Path | None = None, environ: Mapping[str, str] | None = None, cwd: str = "/") -> Ended:
        """Run as slurmd does: no PATH, nothing but what is said here."""
        (self.folder / "log").unlink(missing_ok=True)
        argv = [str(PROLOG), str(file or self.configured())]
        done = subprocess.run(
            argv, capture_output=True, text=True, env={"PATH": "", **(environ or {})}, cwd=cwd, timeout=90
        )
        return Ended(done.returncode, done.stderr, self.log)

    @property
    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""


@dataclass
class Ended:
    code: int
    stderr: str
    log: str


def real_doctor(node: Node, variables: Mapping[str, str], source: Path = ROOT / "src") -> Path:
    """The doctor itself; the variables stand for what the node has (a driver's library)."""
    settings = " ".join(f"{name}={value}" for name, value in variables.items())
    run = f"import sys; sys.path.insert(0, {str(source)!r}); from flash_doctor.__main__ import main; main()"
    return node.doctor(f'exec env {settings} {sys.executable} -I -c "{run}" "$@"')


def compile_driver(folder: Path) -> Path:
    """The folder, with a libnvidia-ml.so.1 in it that answers as FAKE_NVML_… say."""
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", NVML], check=True)
    return folder
