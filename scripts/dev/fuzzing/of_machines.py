"""Readers of what machines say: reports, answers of NVML, nvidia-smi, of a target, of a fleet, of the proof."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzzing.mutate import json_lines, json_value, text_of
from fuzzing.registry import TESTS, facts, file, reader, scratch

if TYPE_CHECKING:
    from flash_doctor.system.process import Command, Completed


@dataclass
class Saying:
    """A runner whose every command ends at once and has printed this."""

    data: bytes
    code: int = 0

    def wait(self) -> Completed:
        from flash_doctor.system.process import Completed

        return Completed(returncode=self.code, stdout=self.data, stderr=self.data[-200:])

    def start(self, _command: Command) -> Saying:
        return self

    def run(self, _command: Command) -> Completed:
        return self.wait()


def reports() -> list[Any]:
    """Machines of the ward, as `check --json` writes them."""
    sys.path[:0] = [str(TESTS), str(TESTS / "diagnose")]
    try:
        import ward
    finally:
        del sys.path[:2]
    from flash_doctor.diagnose import diagnose
    from flash_doctor.render.document import report_document

    names = (
        *("healthy-h100", "rtx5090-torch-cu126-compiled", "two-torches", "nvml-hangs", "flash-by-wheel-label"),
        *("requirements-unmet", "conda-libstdcxx", "vllm-wants-another-torch", "driver-535-cu128", "torch-absent"),
    )
    patients = map(ward.patient, names)
    return [report_document(diagnose(one.target, one.environment, facts()), 0) for one in patients]


@reader("report", reports, json_value, slow=True)
def report(data: bytes) -> None:
    """Read, judged again, and printed."""
    from flash_doctor.diagnose import diagnose
    from flash_doctor.diagnose.registry import all_checks
    from flash_doctor.render.document import load_report, report_document, to_json
    from flash_doctor.render.text import report_lines

    recorded = load_report(data.decode("utf-8", "replace"))
    again = diagnose(recorded.target, recorded.environment, facts())
    families = {check.code: check.family for check in all_checks()}
    list(report_lines(again, families))
    list(report_lines(recorded, families))
    to_json(report_document(again, 0))


@reader("fleet", reports, json_value)
def fleet(data: bytes) -> None:
    from flash_doctor.fleet.compare import compare
    from flash_doctor.fleet.reading import read_document
    from flash_doctor.render.document import to_json
    from flash_doctor.render.fleet import fleet_document, fleet_lines

    if not _HEALTHY:
        _HEALTHY.append(read_document(json.dumps(reports()[0]), fallback="healthy"))
    found = read_document(data.decode("utf-8", "replace"), fallback="node")
    told = compare([found, _HEALTHY[0]], facts().fleet)
    list(fleet_lines(told))
    to_json(fleet_document(told, 0))


_HEALTHY: list[Any] = []


def _fleet_lines(random: Any, seeds: list[Any]) -> bytes:
    return random.choice((b"", b"node-1: ", b"\n")) + json_lines(random, seeds)


@reader("fleet-stream", reports, _fleet_lines, slow=True)
def fleet_stream(data: bytes) -> None:
    import io

    from flash_doctor.fleet.sources import read_all

    list(read_all(["-"], io.BytesIO(data)))


@dataclass
class _OneAnswer:
    output: str

    def answers(self, _errand: Any) -> Any:
        from flash_doctor.fleet.gather import NodeAnswer

        yield NodeAnswer(node="node-1", sent=1.0, received=2.0, output=self.output)


def _answered() -> list[Any]:
    return [{"began": 1.1, "ended": 1.9, "report": json.dumps({"schema": "flash-doctor/error/1", "error": "x"})}]


def _marked(random: Any, seeds: list[Any]) -> bytes:
    """Lines of a node: each value changed for itself, some of them missing."""
    lines = [b"\n@@mark " + kind.encode() + b" " + json_value(random, [value]) for kind, value in seeds[0].items()]
    return b"".join(line for line in lines if random.randrange(6))


@reader("fleet-answer", _answered, _marked)
def fleet_answer(data: bytes) -> None:
    from flash_doctor.fleet.gather import Errand, gather
    from flash_doctor.fleet.reading import read_document

    if not _ERRAND:
        _ERRAND.append(Errand(mark="mark"))
    for gathered in gather(_OneAnswer(data.decode("utf-8", "replace")), _ERRAND[0]):
        read_document(gathered.document)


_ERRAND: list[Any] = []


@reader(
    "ray",
    lambda: [
        {"nodes": ["a", "b"], "at": 1.0},
        {"node": "a", "sent": 1.0, "received": 2.0, "output": "x", "failure": ""},
    ],
    json_lines,
)
def ray(data: bytes) -> None:
    from flash_doctor.fleet.gather import Errand
    from flash_doctor.fleet.ray import Ray

    if not _ERRAND:
        _ERRAND.append(Errand(mark="mark"))
    output = b"".join(b"\n@@mark " + line for line in data.splitlines())
    list(Ray(runner=Saying(output), python="python").answers(_ERRAND[0]))


@reader(
    "slurm",
    lambda: ["node-1 idle\nnode-2 down*\n"],
    partial(text_of, words=["idle", "down", "*", "\n", " ", "node-3", "drained", "mix"]),
)
def slurm(data: bytes) -> None:
    from flash_doctor.fleet.slurm import Slurm

    Slurm(runner=Saying(data)).nodes()


def _gpu() -> dict[str, Any]:
    return {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-1",
        "bus_id": "00000000:18:00.0",
        "memory": 85520809984,
        "memory_used": 1,
        "capability": {"major": 9, "minor": 0},
        "ecc": True,
        "mig": False,
        "mig_devices": [{"uuid": "MIG-1", "name": "MIG 1g", "memory": {"unknown": "x"}}],
        "processes": [{"pid": 3, "memory": 100}],
        "fabric": {"absent": "x"},
        "visible": {"unknown": "x"},
    }


_NVML = {
    "failure": {"absent": ""},
    "library_file": "/usr/lib/libnvidia-ml.so.580.65.06",
    "library": "12.580.65.06",
    "driver": "580.65.06",
    "cuda": 13000,
    "gpus": [_gpu()],
}


def _asked(data: bytes) -> None:
    from flash_doctor.probe.gpu import PendingGpus

    saying = Saying(data)
    PendingGpus(saying, scratch() / "root", saying, None).finish()


reader("nvml", lambda: [_NVML, {**_NVML, "failure": "NVML_ERROR_DRIVER_NOT_LOADED (9)", "gpus": []}], json_value)(
    _asked
)

_CSV = "0, NVIDIA H100, GPU-5c0ffee0, 00000000:18:00.0, 81559, 4, Enabled, Disabled, 580.65.06, 9.0\n"
_TABLE = [
    "NVIDIA-SMI",
    "CUDA Version: 13.0",
    ",",
    "\n",
    '"',
    "[N/A]",
    "Enabled",
    "81559",
    "9.0",
    "GPU-",
    "²",
    "-1",
    " ",
]


@reader("smi", lambda: [_CSV, _CSV * 8, "| NVIDIA-SMI 580.65 CUDA Version: 13.0 |\n"], partial(text_of, words=_TABLE))
def smi(data: bytes) -> None:
    from flash_doctor.probe.nvidia_smi import ask_smi

    ask_smi("nvidia-smi", Saying(data))


def _targets() -> list[Any]:
    """What the script in a target answers: this Python's own answer, with few of its packages."""
    from flash_doctor.probe import inside

    answer = json.loads(json.dumps(inside.main(["torch,flash-attn", "deep"])))
    answer["distributions"] = answer["distributions"][:6]
    site = answer["python"]["site_packages"][0] if answer["python"]["site_packages"] else "/x"
    torch = {
        **answer["distributions"][0],
        "fields": {
            "name": ["torch"],
            "version": ["2.8.0+cu128"],
            "requires-dist": ["triton==3.4; platform_system=='Linux'"],
        },
        "location": site,
        "metadata": f"{site}/torch-2.8.0.dist-info",
        "texts": {
            "direct_url.json": '{"url": "https://u:p@h/x.whl", "dir_info": {"editable": true}}',
            "WHEEL": "Tag: cp311-cp311-x\n",
        },
        "record": {"files": 3, "missing": ["a"], "changed": [], "hashed": False},
        "binaries": ["torch/_C.so"],
    }
    answer["distributions"].append(torch)
    answer["broken"] = [{"path": f"{site}/x.dist-info", "why": "cut off"}]
    return [answer]


@dataclass
class _Asked:
    """Fulfils probe.start.Inquiry with an answer of ours."""

    value: Any

    @property
    def target(self) -> Any:
        from flash_doctor.model import Target

        return Target(python=Path(sys.executable), why="fuzzed")

    def examine(self) -> Any:
        from flash_doctor.model import Start
        from flash_doctor.probe.target_script import ScriptAnswer

        return ScriptAnswer(value=self.value, started=frozenset(), printed="", complaints=""), Start(
            failure=(), bare=False, complaints=(), printed=""
        )


@reader("target", _targets, json_value, slow=True)
def target(data: bytes) -> None:
    """The whole of what is composed from a target's answer; the files that it names are looked for on this disk."""
    from flash_doctor.errors import BadInput
    from flash_doctor.probe.compose import Parts, read_patient
    from flash_doctor.system.bounds import read_json
    from flash_doctor.system.process import SystemRunner

    try:
        value = read_json(data, finite=False).unproved()
    except ValueError as error:
        raise BadInput(str(error)) from error
    read_patient(_Asked(value), {"HOME": "/nowhere"}, None, Parts({}), SystemRunner())  # type: ignore[arg-type]


@reader("target-output", lambda: [[["site"], {"python": {}}]], json_value)
def target_output(data: bytes) -> None:
    """What a target printed, up to the answer."""
    from flash_doctor.model import Target
    from flash_doctor.probe.target_script import RunningScript

    output = b"x\n@@mark python cpython 3.11.7\n\n@@mark answer " + data + b"\n@@mark end\n"
    RunningScript(Target(python=Path("python"), why="x"), Saying(output), "mark").examine()


@reader(
    "direct-url",
    lambda: [
        {"url": "https://u:p@h/x.whl", "archive_info": {"hash": "sha256=x"}},
        {"url": "file:///x", "dir_info": {"editable": True}},
    ],
    json_value,
)
def direct_url(data: bytes) -> None:
    """Beside a distribution that has nothing else wrong."""
    from flash_doctor.probe.packages import read_packages

    item = {
        "fields": {"name": ["x"], "version": ["1"]},
        "texts": {"direct_url.json": data.decode("utf-8", "replace")},
        "location": "/x",
        "metadata": "/x/x-1.dist-info",
        "record": None,
        "has_record": True,
        "binaries": [],
    }
    raw = {
        "python": {"user_site": None, "site_packages": []},
        "links": [],
        "leftovers": [],
        "broken": [],
        "distributions": [item],
    }
    read_packages(raw)


@reader(
    "installed-metadata",
    lambda: ["Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nRequires-Dist: torch\n  (>2)\n\nx: y\n"],
    partial(text_of, words=["Name", ":", "\n", " ", "\n\n", "Version: ", "Requires-Dist: "]),
)
def installed_metadata(data: bytes) -> None:
    """A folder of packages as the script in the target reads it."""
    from flash_doctor.probe import inside

    path = file("packages/thing-1.0.dist-info/METADATA", data)
    scan = inside.Scan(["thing"], True)
    scan.read_folder(str(path.parents[1]))


_EVENTS = [
    {"mark": "m", "event": "begin", "step": "import torch"},
    {"mark": "m", "event": "end", "step": "import torch", "ok": True},
    {"mark": "m", "event": "torch", "version": "2.8.0"},
    {"mark": "m", "event": "devices", "devices": ["H100"]},
    {
        "mark": "m",
        "event": "end",
        "step": "case",
        "ok": False,
        "kind": "RuntimeError",
        "error": "no kernel image",
        "where": ["x"],
    },
    {"mark": "m", "event": "fault", "case": "x", "device": "H100", "fault": "y", "again": 1},
    {"mark": "m", "event": "speed", "device": "H100", "library": 1.0, "sdpa": 3.0, "matmul": 5.0},
    {"mark": "m", "event": "finished"},
]


@reader(
    "proof",
    lambda: [b"\n".join(json.dumps(event).encode() for event in _EVENTS)],
    lambda random, _: json_lines(random, _EVENTS),
)
def proof(data: bytes) -> None:
    """What the script that runs the kernels told; the library that it imports shares its process."""
    from flash_doctor.model import Target
    from flash_doctor.verify import verify

    class Telling(Saying):
        def run(self, command: Command) -> Completed:
            mark = json.loads(command.argv[-1])["mark"].encode()
            self.data = self.data.replace(b'"m"', b'"' + mark + b'"')
            return self.wait()

    where = Target(python=Path("python"), why="x")
    verify(where, Telling(data), entry="flash_attn", head_dims=(64,), scratch=scratch())


_PROC = {
    "meminfo": ("proc/meminfo", "MemTotal:       65841124 kB\nMemAvailable:   60000000 kB\n"),
    "cpuinfo": ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu avx2 avx512f\n"),
    "mounts": ("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"),
    "os-release": ("etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04"\n'),
    "nvidia-version": (
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
    ),
    "cpu-max": ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
    "cpuset": ("sys/fs/cgroup/cpuset.cpus.effective", "0-3,7\n"),
    "memory-max": ("sys/fs/cgroup/memory.max", "1073741824\n"),
}


def _system(data: bytes) -> None:
    """The small files of a machine, all of them the same wrong text: what a container shows may be anything."""
    from flash_doctor.probe import host
    from flash_doctor.probe.compose import attempt
    from flash_doctor.probe.driver_files import read_module

    name, _, text = data.partition(b"\n")
    path = _PROC.get(name.decode("utf-8", "replace"), _PROC["meminfo"])[0]
    file(f"machine/{path}", text)
    attempt(host.read_host, None, scratch(), scratch() / "machine")
    read_module(scratch() / "machine")


def _named(random: Any, _seeds: list[Any]) -> bytes:
    name, (_, text) = random.choice(sorted(_PROC.items()))
    return name.encode() + b"\n" + text_of(random, [text], ["kB", "-", ",", "max", "\n", " ", "0", "\t", ":"])


reader("system-files", lambda: [f"{name}\n{text}" for name, (_, text) in _PROC.items()], _named)(_system)

assert os.name == "posix"
