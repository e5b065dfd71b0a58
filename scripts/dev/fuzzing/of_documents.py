"""Readers of JSON documents, pages, answers of pip and uv: what decides which file is installed, and from where."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from flash_doctor.errors import DoctorError
from fuzzing.mutate import json_value, text_of
from fuzzing.registry import facts, file, reader, scratch

_HASH = "9f" * 32
_URL = "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl"
_INSTALL = {
    "action": "install",
    "name": "flash-attn",
    "version": "2.8.3",
    "requirement": "flash-attn==2.8.3",
    "because": "made for this torch",
    "url": _URL,
    "sha256": _HASH,
    "size": 3652,
    "hash_state": "pinned",
    "indexes": ["https://h/simple"],
    "publisher": "dao-ailab",
}
_BUILD = {
    "action": "build",
    "name": "flash-attn",
    "version": "2.8.3",
    "requirement": "flash-attn==2.8.3",
    "because": "no wheel",
    "url": "https://h/flash_attn-2.8.3.tar.gz",
    "sha256": _HASH,
    "size": 12,
    "hash_state": "pinned",
    "settings": {"MAX_JOBS": "2"},
    "jobs": 1,
    "minutes": 2,
    "memory": 1,
    "needs": [],
}
_REMOVE = {"action": "remove", "name": "flash-attn", "version": "2.8.2", "because": "another one comes"}


def _plans() -> list[Any]:
    goal = {"wanted": ["flash-attn"], "keep": ["torch"], "allow": ["build"]}
    head = {"schema": "flash-doctor/plan/1", "goal": goal, "because": ["it is missing"]}
    return [{**head, "steps": [_REMOVE, _INSTALL]}, {**head, "steps": [_BUILD]}]


@reader("plan", _plans, json_value)
def plan(data: bytes) -> None:
    from flash_doctor.install.plan_file import read_plan

    read_plan(file("plan.json", data), _wheels)


def _wheels() -> Any:
    """A few rows of the facts, among them the address of a seed."""
    from flash_doctor.resolve.sources.matrix import load_wheels

    if not _WHEELS:
        path = file("few/wheels/dao-ailab.json", json.dumps(_book()).encode())
        _WHEELS.append(load_wheels(only=(path,), publishers=facts().publishers))
    return _WHEELS[0]


_WHEELS: list[Any] = []


_JOURNAL = {
    "title": "install flash-attn 2.8.3",
    "outgoing": ["flash_attn/__init__.py", "../../../bin/x"],
    "arriving": [{"staged": ".flash-doctor/1/stage/flash_attn/a.py", "path": "flash_attn/a.py", "replaces": False}],
    "made": ["flash_attn"],
    "emptied": [{"path": "flash_attn", "mode": 493}],
}


@reader("journal", lambda: [_JOURNAL], json_value)
def journal(data: bytes) -> None:
    from flash_doctor.install.journal import Journal

    path = file("venv/lib/python3.11/site-packages/.flash-doctor/1/journal.json", data)
    path.chmod(0o600)
    Journal.read(path.parent, scratch() / "venv")


_PINS = {"pins": [{"url": "https://h/x.whl", "sha256": _HASH, "size": 12, "date": "2026-01-01"}]}


@reader("pins", lambda: [_PINS, {"pins": []}], json_value)
def pins(data: bytes) -> None:
    from flash_doctor.install.hashes import Pins

    Pins.read(file("data/pins.json", data).parent).of("https://h/x.whl")


def _releases() -> list[Any]:
    name = "flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl".replace("%2B", "+")
    assets = [{"name": name, "digest": f"sha256:{_HASH}", "size": 12}, {"name": "notes.txt", "size": 1}]
    return [[{"tag_name": "v2.8.3", "assets": assets}, {"tag_name": "v2.8.2", "assets": []}]]


@reader("releases", _releases, json_value)
def releases(data: bytes) -> None:
    from flash_doctor.errors import BadInput
    from flash_doctor.resolve.sources.assets import read_releases, refresh
    from flash_doctor.system.bounds import read_json

    try:
        found = read_json(data).unproved()
    except ValueError as error:
        raise BadInput(str(error)) from error
    refresh(_book(), list(read_releases(found)), source="fuzz", date="2026-01-01", knows_cuda=facts().drivers.knows)


def _book() -> dict[str, Any]:
    """A publisher's file with the first rows of a shipped one."""
    if not _BOOKS:
        found = json.loads((facts().folder / "wheels" / "dao-ailab.json").read_text(encoding="utf-8"))
        keep = {"sha256", "published", "size", "address", "faults"}
        _BOOKS.append({key: type(value)() if key in keep else value for key, value in found.items()})
        _BOOKS[0]["families"] = found["families"][:6]
    return _BOOKS[0]


_BOOKS: list[dict[str, Any]] = []


def _overlays() -> list[Any]:
    from flash_doctor.resolve.sources.overlay import base_of

    shipped = file("shipped/wheels/dao-ailab.json", json.dumps(_book()).encode())
    return [{**_book(), "base": base_of(shipped)}]


@reader("overlay", _overlays, json_value)
def overlay(data: bytes) -> None:
    """The facts that `matrix refresh` wrote, which another program of the user may have changed."""
    from flash_doctor.resolve.sources.overlay import base_of, usable

    shipped = scratch() / "shipped/wheels/dao-ailab.json"
    if not shipped.exists():
        file("shipped/wheels/dao-ailab.json", json.dumps(_book()).encode())
    base_of(shipped)
    usable(file("overlay/dao-ailab.json", data), shipped, facts())


def _page(files: list[dict[str, Any]]) -> dict[str, Any]:
    return {"meta": {"api-version": "1.0"}, "name": "flash-attn", "files": files}


_FILES = [
    {
        "filename": "flash_attn-2.8.3.tar.gz",
        "url": "https://h/a/flash_attn-2.8.3.tar.gz",
        "hashes": {"sha256": _HASH},
        "size": 3,
    },
    {
        "filename": "flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl",
        "url": "../b/f.whl#x",
        "hashes": {},
        "size": None,
        "yanked": False,
    },
]
_HTML = f"""<!DOCTYPE html><html><body><h1>Links</h1>
<a href="https://h/flash_attn-2.8.3.tar.gz#sha256={_HASH}" data-requires-python="&gt;=3.9">source</a><br/>
<a href='../x/flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl'>wheel</a></body></html>"""
_MARKS = [
    "<a href='",
    "'>",
    "</a>",
    "<!",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<?",
    "&#xffffffff;",
    "&",
    "<a",
    "href=",
    '"',
    "#sha256=",
    "<base href=x>",
]


def _read_page(data: bytes) -> None:
    from flash_doctor.resolve.sources.page import page_files, read_page

    for found in page_files(data, "https://h/simple/flash-attn/"):
        assert found.size is None or found.size >= 0
    list(read_page(data, "https://h/simple/flash-attn/", "v2.8.3"))


reader("page-json", lambda: [_page(_FILES)], json_value)(_read_page)
reader("page-html", lambda: [_HTML], partial(text_of, words=_MARKS))(_read_page)


def _report_of_pip() -> list[Any]:
    download = {"url": "https://h/einops-0.8.1-py3-none-any.whl", "archive_info": {"hashes": {"sha256": _HASH}}}
    item = {"download_info": download, "is_direct": False, "metadata": {"name": "einops", "version": "0.8.1"}}
    return [{"version": "1", "pip_version": "23.2.1", "install": [item, item]}]


@reader("pip-report", _report_of_pip, json_value)
def pip_report(data: bytes) -> None:
    from flash_doctor.resolve.sources.pip_index import read_report

    read_report(data.decode("utf-8", "replace"))


_LOCK = f"""lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.12"

[[packages]]
name = "einops"
version = "0.8.1"
marker = "python_version >= '3.9'"
wheels = [{{ url = "https://h/einops-0.8.1-py3-none-any.whl", size = 888, hashes = {{ sha256 = "{_HASH}" }} }}]

[[packages]]
name = "flash-attn"
version = "2.8.3"
sdist = {{ url = "https://h/flash_attn-2.8.3.tar.gz", hashes = {{ sha256 = "{_HASH}" }} }}
"""
_TOML = [
    "[[packages]]",
    "[",
    "]",
    "{",
    "}",
    "=",
    '"',
    "'''",
    "\n",
    "name",
    "marker",
    "url",
    "1979-05-27T07:32:00Z",
    "0x1f",
    "inf",
    "a.b.c",
    "#",
]


@reader("lock", lambda: [_LOCK], partial(text_of, words=_TOML))
def lock(data: bytes) -> None:
    from flash_doctor.resolve.index_query import IndexQuery
    from flash_doctor.resolve.sources.uv_index import read_lock

    asked = IndexQuery(requirements=(), constraints=(), python="3.12", machine="x86_64", glibc=(2, 35), indexes=())
    list(read_lock(data.decode("utf-8", "replace"), asked))


_REQUIREMENTS = """# what is needed
torch>=2.4,<3 ; python_version >= "3.9"
flash-attn[all]==2.8.3 --hash=sha256:9f9f
-r other.txt
--extra-index-url https://h/simple
einops @ https://h/einops-0.8.1-py3-none-any.whl
numpy<2 \\
  ; sys_platform == 'linux'
-e git+https://h/x#egg=y
"""
_OPTIONS = [
    "-r",
    "-e",
    "--hash=",
    ";",
    "==",
    ">=",
    "@",
    "[",
    "]",
    "(",
    ")",
    "\\\n",
    "#",
    "${HOME}",
    "-",
    "--",
    "-c x",
    "~=",
    "===",
    " and ",
    "extra",
    "'",
]


@reader(
    "requirements", lambda: [_REQUIREMENTS.replace("-r other.txt\n", "")], partial(text_of, words=_OPTIONS), slow=True
)
def requirements(data: bytes) -> None:
    from flash_doctor.probe.requirements import read_requirements
    from flash_doctor.system.process import SystemRunner

    markers = {"python_version": "3.11", "sys_platform": "linux", "python_full_version": "3.11.7"}
    read_requirements(file("requirements.txt", data), markers, {"HOME": "/home/ada"}, SystemRunner())


_LINES = [
    "torch>=2.4,<3 ; python_version >= '3.9'",
    "flash-attn[all,extra] (==2.8.3)",
    "einops @ https://h/einops-0.8.1-py3-none-any.whl ; sys_platform == 'linux' and extra == 'x'",
]


@reader("requirement", lambda: _LINES, partial(text_of, words=_OPTIONS))
def requirement(data: bytes) -> None:
    """One line of metadata, of a plan, of an index: read, and its marker evaluated."""
    from packaging.version import Version

    from flash_doctor.system.requirement import parse, readable

    line = data.decode("utf-8", "replace")
    list(readable([line]))
    found = parse(line)
    found.holds({"python_version": "3.11", "sys_platform": "linux"})
    found.admits(Version("2.8.3"))
    assert parse(found.bare).name == found.name


_PIP_CONF = """[global]
index-url = https://ada:pw@h/simple
extra-index-url =
    https://h/a
    https://h/b
[install]
find-links = /x 'a b'
"""
_UV = """[[index]]
url = "https://h/simple"
default = true

[pip]
index-url = "https://h"
find-links = ["/x"]
extra-index-url = ["a", "b"]
"""
_INI = [
    "[",
    "]",
    "=",
    ":",
    "\n",
    "index-url",
    "find-links",
    "%",
    "#",
    ";",
    "'",
    '"',
    "\\",
    " ",
    "[global]",
    "[DEFAULT]",
]


def _read_indexes(name: str, data: bytes) -> None:
    from flash_doctor.probe.indexes import ConfigPlaces, read_indexes

    home = file(f"home/{name}", data).parent
    read_indexes(
        ConfigPlaces({"HOME": "/nowhere", "PIP_CONFIG_FILE": str(home / "pip.conf")}, None, home, scratch() / "root")
    )
    (home / name).unlink()


reader("pip-conf", lambda: [_PIP_CONF], partial(text_of, words=_INI))(partial(_read_indexes, "pip.conf"))
reader("uv-toml", lambda: [_UV], partial(text_of, words=_TOML))(partial(_read_indexes, "uv.toml"))
reader(
    "pyproject",
    lambda: [f'[tool.uv]\nindex-url = "https://h"\n{_UV.replace("[[index]]", "[[tool.uv.index]]")}'],
    partial(text_of, words=_TOML),
)(partial(_read_indexes, "pyproject.toml"))

_ADDRESSES = [
    _URL,
    "https://ada:pa/ss@h:443/simple/?x=y#z",
    "http://127.0.0.1:8080/x.whl",
    "file:///tmp/a%20b.whl",
    "git+https://h/x@main#egg=y",
    "http://127.0.0.2:8767\\@127.0.0.1/x.whl",
]
_OF_ADDRESSES = [
    *"/:@?#\\[]%",
    "//",
    "://",
    "https",
    "file:",
    "%2f",
    "%00",
    "[::1]",
    "127.0.0.1",
    ":99999",
    "@github.com",
    "\t",
    "ａ",
    "。",
]


def _never_refused(text: str) -> None:
    from flash_doctor.system import url

    try:
        url.public(text), url.is_file(text), url.file_name(text)
        url.redirected("https://h/a", text)
    except DoctorError as error:
        message = "a function refuses, and says that it never does"
        raise AssertionError(message) from error


@reader("address", lambda: _ADDRESSES, partial(text_of, words=_OF_ADDRESSES))
def address(data: bytes) -> None:
    """What is taken apart is what is opened: the door to the network takes the same host out of it."""
    from urllib3.util import parse_url

    from flash_doctor.system import url

    text = data.decode("utf-8", "replace")
    _never_refused(text)
    found = url.parse(text)
    url.login_for(found, {"PIP_INDEX_URL": text, "UV_INDEX": "x=https://u:p@h/simple"})
    assert url.parse(found.opened).server == found.server, "taken apart again it is another server"
    if found.scheme in ("http", "https"):
        taken = parse_url(found.opened)
        assert (taken.host or "").strip("[]").lower() == found.host.lower(), "another host is opened than is shown"
        assert taken.auth is None, "a login is opened with it"
    url.to_open(text)
    url.named_file(text)
    if url.is_file(text):
        url.path_of(text)
