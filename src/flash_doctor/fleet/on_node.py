"""Runs on a node: unpacks the doctor that comes on stdin, once, and has it check the node. Standard library only.

Arguments: mark, sha256 of the package, seconds, and the options of the check as JSON. What counts on stdout are lines
that begin with the mark; programs on the node may print others. Any Python 2.7 or newer can say that it is too old.
"""

import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import zipfile


def say(kind, value):
    # type: (str, object) -> None
    os.write(1, ("\n@@%s %s %s\n" % (sys.argv[1], kind, json.dumps(value))).encode("ascii"))


def out_of_time(number, frame):
    # type: (int, object) -> None
    # KeyboardInterrupt lets the doctor end its children; what hangs even then is left to the next alarm
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(124))
    signal.alarm(2)
    raise KeyboardInterrupt


def cache():
    # type: () -> str
    chosen = os.environ.get("FLASH_DOCTOR_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(chosen or os.path.join(home, "flash-doctor"), "shipped")


def unpack(data, folder):
    # type: (bytes, str) -> None
    """Into a folder of its own, then renamed: other nodes may share the home and do the same."""
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    draft = tempfile.mkdtemp(dir=os.path.dirname(folder))
    try:
        zipfile.ZipFile(io.BytesIO(data)).extractall(draft)
        os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_ours(folder):
    # type: (str) -> bool
    """Whether nobody else could have put code there, or can put another folder in its place."""
    status = os.lstat(folder)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        return False
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        status = os.lstat(folder)
        # in a folder with the sticky bit others cannot rename what is ours
        if status.st_uid not in (0, os.getuid()) or (status.st_mode & 0o022 and not status.st_mode & 0o1000):
            return False
    return True


def unpacked(data, digest):
    # type: (bytes, str) -> tuple[str, str | None]
    """The folder of the doctor, and the one to be removed afterwards where nothing could be kept."""
    folder = os.path.join(os.path.realpath(cache()), digest[:32])
    try:
        if not os.path.isdir(folder):
            unpack(data, folder)
    except OSError:
        pass
    if os.path.isdir(folder) and is_ours(folder):
        return folder, None
    scratch = tempfile.mkdtemp()
    unpack(data, os.path.join(scratch, "doctor"))
    return os.path.join(scratch, "doctor"), scratch


def toml():
    # type: () -> None
    """Python 3.10 has no tomllib; pip brings a copy of the same parser."""
    if sys.version_info < (3, 11):
        try:
            __import__("tomli")
        except ImportError:
            sys.modules["tomli"] = __import__("pip._vendor.tomli", fromlist=["tomli"])


def check(digest, options):
    # type: (str, dict[str, object]) -> None
    data = sys.stdin.buffer.read()
    if hashlib.sha256(data).hexdigest() != digest:
        say("failed", "the doctor's package arrived damaged (%d bytes)" % len(data))
        return
    folder, scratch = unpacked(data, digest)
    try:
        sys.path.insert(0, folder)
        toml()
        say("report", __import__("flash_doctor.cli.node", fromlist=["main"]).main(**options))
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def main():
    # type: () -> None
    say("began", time.time())
    if sys.version_info < (3, 10):
        version = "%d.%d" % sys.version_info[:2]
        say("failed", "Python %s is there (%s), and the doctor needs 3.10 or newer" % (version, sys.executable))
        return
    seconds = max(1, int(float(sys.argv[3])))
    # Slurm cancels a step with SIGTERM: what is half unpacked is to be removed
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, out_of_time)
    signal.alarm(seconds)
    try:
        check(sys.argv[2], json.loads(sys.argv[4]))
    except KeyboardInterrupt:
        say("failed", "its check did not end within %d seconds" % seconds)
    except Exception as error:
        say("failed", "the doctor failed there: %s: %s" % (type(error).__name__, error))
        raise
    signal.alarm(0)
    say("ended", time.time())


main()
