"""Runs IN the target, CPython 3.7 or newer: what its interpreter and its distributions say, as raw facts.

Standard library only, and little of it: every import is time that the user waits. Nothing is executed or imported
from site-packages, nothing is written. The doctor's side (packages.py) makes values of what `main` returns.
"""

from __future__ import annotations

import errno
import os
import sys

FIRST_READ = 1 << 15
HEADER_LIMIT = 1 << 20
RECORD_LIMIT = 1 << 26
WANTED = ("name", "version", "requires-dist", "requires-python")
# Small files of a metadata folder that are handed over as text.
TEXTS = ("INSTALLER", "direct_url.json", "WHEEL", "top_level.txt", "requires.txt")


def main(arguments: list[str]) -> dict[str, object]:
    """Facts of this interpreter, for: names whose RECORD is compared (a,b,c*), and `deep` to compare hashes too."""
    scan = Scan(arguments[0].split(","), "deep" in arguments[1:])
    for folder in folders(sys.path):
        scan.read_folder(folder)
    found = {name: getattr(scan, name) for name in ("distributions", "broken", "closed", "leftovers", "links")}
    return {"python": describe_python(), "path": sys.path, **found}


def describe_python() -> dict[str, object]:
    """Who this interpreter is; paths as they are, symbolic links kept."""
    import site

    # virtualenv before release 20 brought a site.py of its own, without this function
    listed = site.getsitepackages() if hasattr(site, "getsitepackages") else sys.path
    packages = [folder for folder in listed if folder.endswith("-packages") and os.path.isdir(folder)]
    return {
        "version": full_version(sys.version_info),
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "conda": os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
        "abi": "cp%d%d%s" % (sys.version_info[0], sys.version_info[1], sys.abiflags),
        "platform": platform_tag(),
        "markers": markers(),
        "site_packages": packages,
        "user_site": site.getusersitepackages() if site.ENABLE_USER_SITE else None,
        "pythonpath": [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry],
        "managed": managed_text(),
        "writable": bool(packages) and os.access(packages[0], os.W_OK),
        "headers": headers(),
    }


def full_version(info: sys._version_info) -> str:
    """3.13.0rc1 from a version_info, without what vendors add to sys.version."""
    release = "%d.%d.%d" % info[:3]
    return release if info[3] == "final" else release + info[3][0].replace("c", "rc") + str(info[4])


def platform_tag() -> str:
    """The platform of wheels built here: linux_x86_64; a 32-bit interpreter on a 64-bit kernel counts as 32-bit."""
    if not sys.platform.startswith("linux"):
        import sysconfig

        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    machine = os.uname().machine
    if sys.maxsize <= 2**32:
        machine = {"x86_64": "i686", "aarch64": "armv7l"}.get(machine, machine)
    return "linux_" + machine


def markers() -> dict[str, str]:
    """The marker environment of PEP 508."""
    system = os.uname()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": full_version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": system.machine,
        "platform_release": system.release,
        "platform_system": system.sysname,
        "platform_version": system.version,
        "platform_python_implementation": "CPython",
        "python_full_version": full_version(sys.version_info),
        "python_version": "%d.%d" % sys.version_info[:2],
        "sys_platform": sys.platform,
    }


def managed_text() -> str | None:
    """The text of EXTERNALLY-MANAGED (PEP 668), which never counts inside a venv."""
    if sys.prefix != sys.base_prefix:
        return None
    return read_text(os.path.join(os.path.dirname(os.__file__), "EXTERNALLY-MANAGED"))


def headers() -> str | None:
    """Python.h's folder, which a source build needs and distributions package apart."""
    name = "python%d.%d%s" % (sys.version_info[0], sys.version_info[1], sys.abiflags)
    folder = os.path.join(sys.base_prefix, "include", name)
    return folder if os.path.exists(os.path.join(folder, "Python.h")) else None


def folders(path: list[str]) -> list[str]:
    """The folders of sys.path, each once: lib64 is often a link to lib."""
    result: dict[tuple[int, int], str] = {}
    for entry in path:
        try:
            status = os.stat(entry)
        except OSError:
            continue
        result.setdefault((status.st_dev, status.st_ino), entry)
    return list(result.values())


class Scan:
    """The distributions of the folders read, in their order; what is broken, left over or linked; closed folders."""

    def __init__(self, patterns: list[str], deep: bool) -> None:
        self.patterns, self.deep = patterns, deep
        self.distributions: list[dict[str, object]] = []
        self.broken: list[dict[str, object]] = []
        self.closed: list[dict[str, str]] = []
        self.leftovers: list[str] = []
        self.links: list[str] = []

    def read_folder(self, folder: str) -> None:
        try:
            names = sorted(os.listdir(folder))
        except NotADirectoryError:
            names = []  # the zipped standard library
        except OSError as error:
            names = []
            self.closed.append({"path": folder, "why": "cannot be listed: " + str(error.strerror)})
        if folder.endswith(".egg") and "EGG-INFO" in names:
            self.add(os.path.dirname(folder), os.path.join(folder, "EGG-INFO"))
        for name in names:
            if name.startswith("~"):
                self.leftovers.append(os.path.join(folder, name))
            elif name.endswith((".dist-info", ".egg-info")):
                self.add(folder, os.path.join(folder, name))
            elif name.endswith(".egg-link"):
                target = (read_text(os.path.join(folder, name)) or "").split("\n")[0].strip()
                self.links.append(os.path.normpath(os.path.join(folder, target)))

    def add(self, folder: str, metadata: str) -> None:
        try:
            self.distributions.append(self.read_distribution(folder, metadata))
        except FileNotFoundError as error:
            self.broken.append({"path": metadata, "why": "has no " + os.path.basename(error.filename)})
        except OSError as error:
            closed = isinstance(error, PermissionError)
            self.broken.append({"path": metadata, "why": "cannot be read: " + str(error.strerror), "closed": closed})

    def read_distribution(self, folder: str, metadata: str) -> dict[str, object]:
        header = os.path.join(metadata, "METADATA" if metadata.endswith(".dist-info") else "PKG-INFO")
        try:
            files = os.listdir(metadata)
        except NotADirectoryError:
            files, header = [], metadata  # distutils wrote one file
        fields = read_header(header)
        for field in ("name", "version"):
            if field not in fields:
                raise OSError(errno.EINVAL, "its metadata give no " + field)
        path = os.path.join(metadata, "RECORD")
        compared = "RECORD" in files and is_wanted(fields["name"][0], self.patterns)
        return {
            "metadata": metadata,
            "location": folder,
            "fields": fields,
            "texts": {name: read_text(os.path.join(metadata, name)) for name in TEXTS if name in files},
            "has_record": "RECORD" in files,
            "record": compare_record(folder, path, self.deep) if compared else None,
            "binaries": shared_objects(path) if "RECORD" in files else [],
        }


def read_bytes(path: str, limit: int) -> bytes:
    """At most `limit` bytes of a regular file in one read; spares a third of open()'s time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def read_text(path: str) -> str | None:
    """A small text file, whatever bytes it holds; None when it cannot be read."""
    try:
        return read_bytes(path, FIRST_READ).decode("utf-8", "replace")
    except OSError:
        return None


def read_header(path: str) -> dict[str, list[str]]:
    """The wanted fields before the first blank line of METADATA; a folded line belongs to the one above it."""
    data = read_bytes(path, FIRST_READ)
    if len(data) == FIRST_READ and b"\n\n" not in data:
        data = read_bytes(path, HEADER_LIMIT)
    head = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    fields: dict[str, list[list[str]]] = {}
    pieces: list[str] = []
    for line in head.split("\n"):
        if line[:1] in (" ", "\t"):
            pieces.append(line.strip())
            continue
        key, _, value = line.partition(":")
        pieces = [value.strip()]
        if key.lower() in WANTED:
            fields.setdefault(key.lower(), []).append(pieces)
    return {key: [" ".join(value) for value in values] for key, values in fields.items() if any(values[0])}


def is_wanted(name: str, patterns: list[str]) -> bool:
    name = "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


def compare_record(base: str, path: str, deep: bool) -> dict[str, object]:
    """Files that RECORD lists and the disk lacks, or has in another size (with `deep`: another hash)."""
    differing: dict[str, list[str]] = {"missing": [], "changed": []}
    try:
        record = read_record(path)
        for folder, files in record.items():
            compare_folder(base, folder, files, deep, **differing)
    except OSError as error:
        return {"error": "%s: %s" % (error.filename or path, error.strerror)}
    except ValueError as error:  # a zero byte in a name
        return {"error": "%s: %s" % (path, error)}
    return {"files": sum(map(len, record.values())), **differing, "hashed": deep}


def shared_objects(record: str) -> list[str]:
    """The `….so` files that RECORD lists, found without parsing its thousands of lines."""
    try:
        pieces = read_bytes(record, RECORD_LIMIT).split(b".so,")[:-1]
    except OSError:
        return []
    return [piece[piece.rfind(b"\n") + 1 :].decode("utf-8", "surrogateescape") + ".so" for piece in pieces]


def read_record(path: str) -> dict[str, list[tuple[str, str]]]:
    """By folder (with its slash): file name and the rest of its row, `hash,size`. Bytecode may come and go."""
    lines = read_bytes(path, RECORD_LIMIT).decode("utf-8", "surrogateescape").split("\n")
    record: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        if line.startswith('"'):  # a path with a comma or a quote
            file, found, rest = line[1:].replace('""', "\0").partition('",')
            file = file.replace("\0", '"')
        else:
            file, found, rest = line.partition(",")
        if found and not file.endswith((".pyc", ".pyo")):
            folder, slash, name = file.rpartition("/")
            record.setdefault(folder + slash, []).append((name, rest.rstrip("\r")))
    return record


def compare_folder(
    base: str, folder: str, files: list[tuple[str, str]], deep: bool, missing: list[str], changed: list[str]
) -> None:
    try:
        descriptor = os.open(os.path.join(base, folder), os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        missing.extend(folder + name for name, _ in files)
        return
    try:
        # relative to an opened folder: the quickest way through torch's 12,000 files
        for name, expected in files:
            try:
                size = os.stat(name, dir_fd=descriptor).st_size
            except FileNotFoundError:
                missing.append(folder + name)
                continue
            same = expected.endswith((",%d" % size, ","))
            if not same or (deep and not same_hash(os.path.join(base, folder, name), expected.partition(",")[0])):
                changed.append(folder + name)
    finally:
        os.close(descriptor)


def same_hash(path: str, digest: str) -> bool:
    """Whether the file has RECORD's digest (`sha256=` and unpadded urlsafe base64); no digest, no complaint."""
    import base64
    import hashlib

    algorithm, _, wanted = digest.partition("=")
    if not wanted or algorithm not in hashlib.algorithms_available or not os.path.isfile(path):
        return True
    state = hashlib.new(algorithm)
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                state.update(chunk)
    except OSError:
        return True
    return base64.urlsafe_b64encode(state.digest()).rstrip(b"=").decode() == wanted
