"""The README's transcripts: run each command for real, in a folder prepared for it, 80 columns wide."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import reports
import ward

from flash_doctor.diagnose import diagnose
from flash_doctor.diagnose.score import WEIGHTS
from flash_doctor.errors import EXIT_CODES
from flash_doctor.facts import Facts
from flash_doctor.render.document import report_document, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

# <!-- run: what is really run --> before a console block whose first line is what a user would type
_BLOCK = re.compile(r"(<!-- run: (.+?) -->\n```console\n\$ [^\n]*\n)(.*?)(```)", re.DOTALL)
# what another day or another disk changes
_UNSTEADY = {
    r"^\d\d:\d\d:\d\d": "12:00:00",
    r"disk \d+% used, [\d.]+ [GT]B free": "disk 39% used, 66.1 GB free",
    r"\(\d+ days? old\)": "(0 days old)",
}
# the symbol of a C++ extension that was compiled for torch 2.10 to 2.13
_SHOWN = "/home/ada/proj-1"
_PATIENTS = ("flash-built-for-newer-torch",)
_CASE = Path(__file__).parent / "preflight_cases" / "sick-07-t4-flash-and-bf16"
_SYMBOL = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"
_SOURCE = f'extern char wanted[] __asm__("{_SYMBOL}");\nchar *table[] = {{wanted}};\n'
_METRICS = "".join(
    f'{{"step": {step}, "loss": {loss}, "grad_norm": {norm}, "learning_rate": 2e-5}}\n'
    for step, loss, norm in [*((step, 2.0 - step / 100, 1.0) for step in range(1, 40)), (40, "NaN", "NaN")]
)
LOG = """\
Traceback (most recent call last):
  File "/home/ada/train.py", line 3, in <module>
    import flash_attn
  File "/home/ada/.venv/lib/python3.12/site-packages/flash_attn/flash_attn_interface.py", line 15, in <module>
    import flash_attn_2_cuda as flash_attn_gpu
ImportError: /home/ada/.venv/lib/python3.12/site-packages/flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so: \
undefined symbol: _ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb
"""


def commands(readme: str) -> list[str]:
    return [match.group(2) for match in _BLOCK.finditer(readme)]


@contextmanager
def room() -> Iterator[Path]:
    """A prepared folder whose path is as long as the one that is shown in its place, so that lines break alike."""
    with tempfile.TemporaryDirectory(prefix="fd-", dir="/tmp") as folder:
        assert len(folder) == len(_SHOWN)
        yield prepare(Path(folder))


def prepare(folder: Path) -> Path:
    """The reports, the log, the extension and the rest that the README talks about."""
    facts = Facts()
    for name in _PATIENTS:
        patient = ward.patient(name)
        report = diagnose(patient.target, patient.environment, facts)
        (folder / f"{name}.json").write_text(to_json(report_document(report, 0)))
    (folder / "train.log").write_text(LOG)
    (folder / "extension.c").write_text(_SOURCE)
    flags = ["-shared", "-fPIC", "-nostdlib", "-Wl,--unresolved-symbols=ignore-all"]
    library = "flash_attn_2_cuda.abi3.so"
    subprocess.run(["gcc", *flags, "-o", library, "extension.c"], cwd=folder, check=True)
    shutil.copytree(_CASE, folder, dirs_exist_ok=True)
    (folder / "nodes").mkdir()
    for number in range(1, 9):
        name = f"gpu{number:03}"
        differs = {"driver": {"module": "550.54.14", "library": "550.54.14"}} if number == 7 else {}
        (folder / "nodes" / f"{name}.json").write_text(reports.text(name, differs))
    (folder / "metrics.jsonl").write_text(_METRICS)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (folder / "train.sh").write_text('echo "OSError: [Errno 28] No space left on device: checkpoint-9000" >&2; exit 1')
    (folder / "steps").mkdir()
    for name in ("0_create_venv.py", "2_install_torch.py", "2_install_axolotl.py"):
        (folder / "steps" / name).touch()
    (folder / "steps" / "README.md").write_text("0_create_venv.py, 2_install_torch.py, 2_install_axolotl.py")
    return folder


def output_of(command: str, folder: Path) -> str:
    """What the command prints, run in the folder."""
    environment = {"COLUMNS": "80", "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "flash_doctor", *shlex.split(command)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    text = (done.stdout + done.stderr).replace(str(folder), _SHOWN)
    for pattern, steady in _UNSTEADY.items():
        text = re.sub(pattern, steady, text, flags=re.MULTILINE)
    return text


def refreshed(readme: str, folder: Path) -> str:
    """The README with every transcript and generated table as they are today."""
    text = _BLOCK.sub(lambda match: match.group(1) + output_of(match.group(2), folder) + match.group(4), readme)
    return tables_refreshed(text)


def tables_refreshed(readme: str) -> str:
    """The README with its tables of exit codes and weights as the code has them."""
    text = _between(readme, "codes", "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()))
    rows = (f"| {family.value} | {weight} | {why} |" for family, (weight, why) in WEIGHTS.items())
    return _between(text, "score", "\n".join(rows))


def _between(text: str, name: str, content: str) -> str:
    """Replace the table rows between `<!-- name -->` and the next empty line."""
    pattern = re.compile(rf"(<!-- {name} -->\n(?:\|[^\n]*\n){{2}})(?:\|[^\n]*\n)*")
    assert pattern.search(text), f"the README has no table marked {name}"
    return pattern.sub(lambda match: match.group(1) + content + "\n", text)
