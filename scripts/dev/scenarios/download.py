"""The doctor's download, hashed while it streams, against curl, from a server held at 100 MB/s."""

from __future__ import annotations

import atexit
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench import Contestant

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "download: 300 MB from a server held at 100 MB/s"
MEGABYTES, RATE = 300, 100
# one process of its own, so that the server's work is not counted as a contestant's
SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
size, rate = int(sys.argv[1]) << 20, int(sys.argv[2]) * 1000 * 1000
block = bytes(1 << 18)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        start, sent = time.monotonic(), 0
        while sent < size:
            piece = block[: size - sent]
            self.wfile.write(piece)
            sent += len(piece)
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
    def log_message(self, *words): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
FETCH = """
import sys
from pathlib import Path
from flash_doctor.system.download import download
print(download(sys.argv[1], Path(sys.argv[2]), sha256=None).sha256)
"""


def contestants(work: Path) -> list[Contestant]:
    work.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(MEGABYTES), str(RATE)], stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.kill)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/wheel.whl"
    time.sleep(0.1)
    return [
        Contestant("flash-doctor's download with sha256", [sys.executable, "-c", FETCH, url, str(work / "ours.whl")]),
        Contestant("curl", ["curl", "-s", "-o", str(work / "curl.whl"), url], "at least 1/1.05"),
    ]
