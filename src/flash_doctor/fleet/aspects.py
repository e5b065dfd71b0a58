"""The aspects in which nodes are compared: how each is read from a report, and how far two values of it are apart."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadInput
from flash_doctor.facts.fleet import Degree
from flash_doctor.fleet.entry import Entry
from flash_doctor.model import Absent
from flash_doctor.model.machine import driver_number
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from flash_doctor.model import Part


_BY_PLACE = (Degree.MAJOR, Degree.MINOR, Degree.MICRO)


def degree(one: str | None, other: str | None) -> Degree:
    """By the first number in which two versions differ; words before them (`glibc 2.39`) must be the same."""
    if one is None or other is None:
        return Degree.MISSING
    (words, left), (other_words, right) = _versioned(one), _versioned(other)
    if words != other_words:
        # another product, as flash-attn 3 for flash-attn 2, or no versions at all
        return Degree.MAJOR if left and right else Degree.ANY
    if left is None or right is None:
        return Degree.ANY
    places = zip(_BY_PLACE, _release(left), _release(right), strict=False)
    return next((place for place, a, b in places if a != b), Degree.ANY)


def _release(version: Version) -> tuple[int, ...]:
    return (*version.release, 0, 0)[:3]


def _versioned(text: str) -> tuple[str, Version | None]:
    words, _, last = text.rpartition(" ")
    try:
        return words, Version(last)
    except InvalidVersion:
        return text, None


NCCL = "nvidia-nccl-"
_PREFIXES = ("NCCL_", "TORCH_NCCL_", "UCX_")
_MAX_VARIABLES = 200
NOT_SET = Absent(absent="not set")


def values(environment: Entry, nccl: Entry | None) -> dict[str, Part[str]]:
    """Every aspect of the environment, then the variables that steer the ranks' talk.

    Args:
        environment: of the report.
        nccl: its `nccl_package`.

    Raises:
        BadInput: a value is not of the type that a report has there.
    """
    read_ones = {key: read(environment) for key, read in _ASPECTS.items()}
    return {**read_ones, "nccl": _nccl(environment, nccl), **_variables(environment)}


def _of(part: str, read: Callable[[Entry], Part[str]]) -> Callable[[Entry], Part[str]]:
    """An aspect of one part of the environment; it is as absent or unknown as the part."""

    def aspect(environment: Entry) -> Part[str]:
        found = environment.part(part)
        return read(found) if isinstance(found, Entry) else found

    return aspect


def _text(part: str, key: str) -> Callable[[Entry], Part[str]]:
    return _of(part, lambda entry: entry.text_part(key))


def _counted(words: Iterable[str]) -> str:
    """`8 x A` or `7 x A + 1 x B`, whatever their order."""
    counts = Counter(words)
    return " + ".join(f"{counts[word]} x {word}" for word in sorted(counts))


def _usable(gpus: Entry) -> list[Entry]:
    """The GPUs that a job would see."""
    return [gpu for gpu in gpus.entries("devices") if gpu.data.get("visible") is not False]


def _gpu(gpus: Entry) -> Part[str]:
    names = sorted({gpu.text("name") for gpu in _usable(gpus)})
    return " + ".join(names[:8]) if names else Absent(absent="no GPU can be used")


def _gpu_count(gpus: Entry) -> Part[str]:
    return str(len(_usable(gpus)))


def _driver(driver: Entry) -> Part[str]:
    module = driver.text_part("module")
    version = module if isinstance(module, str) else driver.text_part("library")
    return _as_nvidia_writes_it(version) if isinstance(version, str) else version


@lru_cache(maxsize=1024)
def _as_nvidia_writes_it(version: str) -> str:
    try:
        return driver_number(Version(version))
    except ValueError as error:  # InvalidVersion is one, and so is a number of too many digits
        message = f"$.environment.driver.module: {error}"
        raise BadInput(message) from error


def _torch(torch: Entry) -> Part[str]:
    return torch.text("version").partition("+")[0]


def _torch_commit(torch: Entry) -> Part[str]:
    commit = torch.text_part("git")
    return cut(commit, 12) if isinstance(commit, str) else commit


def _cuda(torch: Entry) -> Part[str]:
    cuda = torch.text_part("cuda")
    if not isinstance(cuda, Absent):
        return cuda
    hip = torch.text_part("hip")
    return f"ROCm {hip}" if isinstance(hip, str) else cuda


def _abi(torch: Entry) -> Part[str]:
    new = torch.flag_part("cxx11abi")
    return {True: "C++11", False: "before C++11"}[new] if isinstance(new, bool) else new


def _flash(flash: Entry) -> Part[str]:
    """Each FlashAttention that can be imported, with its version."""
    found = {module.text("kind"): module.text_part("version") for module in flash.entries("modules")}
    if not found:
        return Absent(absent="no flash-attn can be imported")
    words = [f"{kind} {version}" if isinstance(version, str) else kind for kind, version in sorted(found.items())]
    return ", ".join(words[:4])


def _flash_build(flash: Entry) -> Part[str]:
    """The wheels it came from, by file name, which tells torch, CUDA and ABI of the build."""
    urls = [package.text_part("url") for package in flash.entries("packages")]
    names = [unquote(urlsplit(url).path).rpartition("/")[2] for url in urls if isinstance(url, str)]
    return ", ".join(sorted(names)[:4]) if names else Absent(absent="the installer noted no address")


def nccl_package(environment: Entry) -> Entry | None:
    """The first distribution that brings NCCL."""
    found = environment.part("packages")
    names = [package.get("name") for package in found.objects("distributions")] if isinstance(found, Entry) else []
    index = next((index for index, name in enumerate(names) if isinstance(name, str) and name.startswith(NCCL)), None)
    return None if index is None or not isinstance(found, Entry) else found.item("distributions", index)


def _nccl(environment: Entry, package: Entry | None) -> Part[str]:
    if package:
        return package.text("raw_version")
    found, torch = environment.part("packages"), environment.part("torch")
    if not isinstance(found, Entry):
        return found
    if not isinstance(torch, Entry):
        return torch
    if not isinstance(_cuda(torch), str):
        return Absent(absent="this torch is not built for GPUs")
    return f"inside torch {torch.text('version')}"


def _nccl_path(loader: Entry) -> Part[str]:
    for library in loader.entries("libraries"):
        if library.text("soname").startswith("libnccl"):
            return library.text("path")
    return Absent(absent="no libnccl on LD_LIBRARY_PATH")


def _python(python: Entry) -> Part[str]:
    implementation, version = python.text("implementation"), python.text("version")
    suffix = " free-threaded" if python.text("abi").endswith("t") else ""
    return version + suffix if implementation.lower() == "cpython" else f"{implementation} {version}"


def _libc(host: Entry) -> Part[str]:
    found = host.part("libc")
    return f"{found.text('name')} {found.text('version')}" if isinstance(found, Entry) else found


def _ports(kind: str, word: Callable[[Entry], str]) -> Callable[[Entry], Part[str]]:
    """The host's ports of a kind (`rdma`, `interfaces`), counted by what `word` says of each."""

    def aspect(host: Entry) -> Part[str]:
        network = host.part("network")
        if not isinstance(network, Entry):
            return network
        words = [word(port) for port in network.entries(kind) if port.flag("up")]
        return _counted(words[:512]) if words else Absent(absent="none is up")

    return aspect


def _port(port: Entry) -> str:
    return f"{port.text('link')} {_rate(port)}"


def _interface(port: Entry) -> str:
    mtu = port.data.get("mtu")
    return f"{_rate(port)} MTU {mtu}" if type(mtu) is int else _rate(port)


def _rate(port: Entry) -> str:
    """Mbit/s as people say it."""
    speed = port.data.get("speed")
    return f"{speed / 1000:g} Gb/s" if type(speed) is int and 0 < speed < 1 << 32 else "of unknown speed"


def _variables(environment: Entry) -> dict[str, Part[str]]:
    found = environment.part("variables")
    if not isinstance(found, Entry):
        return {}
    names = [name for name in found.data if name.startswith(_PREFIXES)]
    if len(names) > _MAX_VARIABLES:
        message = f"{found.path}: more than {_MAX_VARIABLES} variables of NCCL"
        raise BadInput(message)
    return {name: found.text(name) for name in names}


def signature(environment: Entry, aspects: Mapping[str, Part[str]]) -> tuple[str, ...]:
    """What a plan for this machine depends on; equal for machines that one plan serves."""
    told = (str(aspects[key]) for key in ("machine", "torch", "cuda", "abi", "flash", "flash_build", "libc"))
    return (*_tags(environment), *told, *_capabilities(environment))


def _tags(environment: Entry) -> Iterator[str]:
    python = environment.part("python")
    if isinstance(python, Entry):
        yield python.text("abi")
        yield python.text("platform")


def _capabilities(environment: Entry) -> list[str]:
    gpus = environment.part("gpus")
    found = [gpu.part("capability") for gpu in _usable(gpus)] if isinstance(gpus, Entry) else []
    return sorted({f"{each.number('major')}.{each.number('minor')}" for each in found if isinstance(each, Entry)})


# in the order in which they are told; the titles are in fleet.toml
_ASPECTS: dict[str, Callable[[Entry], Part[str]]] = {
    "machine": _of("host", lambda host: host.text("machine")),
    "gpu": _of("gpus", _gpu),
    "gpu_count": _of("gpus", _gpu_count),
    "driver": _of("driver", _driver),
    "torch": _of("torch", _torch),
    "torch_commit": _of("torch", _torch_commit),
    "cuda": _of("torch", _cuda),
    "abi": _of("torch", _abi),
    "flash": _of("flash", _flash),
    "flash_build": _of("flash", _flash_build),
    "nccl_path": _of("loader", _nccl_path),
    "python": _of("python", _python),
    "libc": _of("host", _libc),
    "kernel": _of("host", lambda host: host.text("kernel")),
    "rdma": _of("host", _ports("rdma", _port)),
    "interfaces": _of("host", _ports("interfaces", _interface)),
}
