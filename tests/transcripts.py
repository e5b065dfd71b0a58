"""The README's transcripts: run each command for real, in a folder prepared for it, 80 columns wide.

`<!-- run: what is really run -->` stands before a console block whose first line is what a user would type;
`<!-- then: … -->` before one that goes on where the block before it ended, as a rollback after a fix.
"""

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

import standins
from clinic import Clinic
from flash_doctor.diagnose import diagnose
from flash_doctor.errors import EXIT_CODES
from flash_doctor.facts import Facts
from flash_doctor.render.document import report_document, to_json
from flash_doctor.rules.score import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(r"(<!-- (run|then): ([^\n]+?) -->\n```console\n\$ [^\n]*\n)(.*?)(```)", re.DOTALL)
# a wheel that was built just now has a hash of its own; the first that is told is shown as the first of these
_FRESH_HASH = re.compile(r"[0-9a-f]{12}(?=…, sha256 (?:of that very file|named by the plan file))")
_SHOWN_HASHES = ("5f0c2e9ab714", "c81e7d40b2f6")
_TREATMENTS = ("fix", "rollback", "bundle")
# what another day, another disk, another Python or another compiler changes, as long as what stands in its place
_UNSTEADY = {
    r"python3\.\d+": "python3.12",
    r"\bcp3\d+\b": "cp312",
    r"(?<= )\d\.\d s\b": "0.1 s",
    r"\d{8}T\d{6}-\d{6}-\d+": "20261121T120000-000000-4242",
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b": "2026-11-21 12:00",
    r"off by \S+, allowed \S+": "off by 0.592, allowed 0.00393",
    r"cpu: \S+ TFLOP/s; torch's own attention \S+,": "cpu: 0.070 TFLOP/s; torch's own attention 0.080,",
    r"(?<=matrix product\n    )\S+": "0.980",
    r"^\d\d:\d\d:\d\d": "12:00:00",
    r"disk \d+% used, [\d.]+ [GT]B free": "disk 39% used, 66.1 GB free",
    r"\(\d+ days? old\)": "(0 days old)",
    # one more check or rule is no other page
    r"\b\d+ of \d+ checked": "89 of 89 checked",
    r"\b\d+ of \d+ rules that apply": "68 of 68 rules that apply",
}
# the symbol of a C++ extension that was compiled for torch 2.10 to 2.13
_SHOWN = "/home/ada/proj-1"
_PATIENTS = ("flash-built-for-newer-torch",)
_MEGABYTES = 8 << 20
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


def stories(readme: str) -> list[tuple[str, ...]]:
    """The commands of the README; those that go on where another ended stand behind it."""
    told: list[tuple[str, ...]] = []
    for match in _BLOCK.finditer(readme):
        _, how, command, *_ = match.groups()
        told.append((*told.pop(), command) if how == "then" else (command,))
    return told


def needs_torch(command: str) -> bool:
    return command.startswith("verify ")


def is_treatment(command: str) -> bool:
    return command.startswith(_TREATMENTS)


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


def prepare_treatment(folder: Path) -> None:
    """A project whose flash-attn was built for another torch, and a folder of wheels with one that fits."""
    clinic = Clinic(folder, name=".venv")
    clinic.mismatched("2.8.2", ballast=_MEGABYTES)
    clinic.flash("2.8.3", ballast=_MEGABYTES)
    clinic.einops()
    output_of("plan --python .venv --wheelhouse wheels --offline --json --output plan.json", folder)


def prepare_proof(folder: Path, torch: Path) -> None:
    """Two environments with the real torch of another one, and stand-ins for flash-attn that run on a CPU."""
    for name, disease in (("honest", "honest"), ("liar", "wrong gradients")):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / name)], check=True)
        site = next((folder / name).glob("lib/python3*/site-packages"))
        (site / "torch.pth").write_text(f"{next(torch.glob('lib/python3*/site-packages'))}\n")
        standins.make(site, disease)


def output_of(command: str, folder: Path) -> str:
    """What the command prints, run in the folder."""
    if is_treatment(command) and not (folder / ".venv").exists():
        prepare_treatment(folder)
    environment = {"COLUMNS": "80", "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    environment["FLASH_DOCTOR_PROGRAM"] = "flash-doctor"  # as it is called where it is installed
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
    fresh = dict(zip(dict.fromkeys(_FRESH_HASH.findall(text)), _SHOWN_HASHES, strict=False))
    return _FRESH_HASH.sub(lambda match: fresh[match[0]], text)


def refreshed(readme: str, folder: Path, torch: Path) -> str:
    """The README with every transcript and generated table as they are today.

    Proofs stay as they are where there is no environment `torch`.
    """
    if torch.is_dir():
        prepare_proof(folder, torch)

    def run(match: re.Match[str]) -> str:
        head, _, command, old, tail = match.groups()
        new = old if needs_torch(command) and not torch.is_dir() else output_of(command, folder)
        return f"{head}{new}{tail}"

    return tables_refreshed(_BLOCK.sub(run, readme))


def tables_refreshed(readme: str) -> str:
    """The README with its tables of exit codes and weights as the code has them."""
    text = _between(readme, "codes", "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()))
    rows = (f"| {family.value} | {weight} | {why} |" for family, (weight, why) in WEIGHTS.items())
    return _between(text, "score", "\n".join(rows))


def _between(text: str, name: str, content: str) -> str:
    """Replace the table rows between `<!-- name -->` and the next empty line."""
    pattern = re.compile(rf"(<!-- {name} -->\n(?:\|[^\n]*\n){{2}})(?:\|[^\n]*\n)*")
    return pattern.sub(lambda match: match.group(1) + content + "\n", text)
