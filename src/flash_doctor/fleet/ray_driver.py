"""Runs in the cluster's interpreter: one task on each live node of a Ray cluster. Needs Ray, and nothing of ours.

Arguments: settings as JSON. The doctor's package comes on stdin. Each line on stdout that begins with the mark is
JSON: first the names of the nodes, then one answer for each as it comes. Nothing a node prints can look like one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

UNHIDE = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_FAILURE = 10_000  # characters; it is masked where it is shown, and cut much shorter


def examine(package: bytes, stub: str, arguments: list[str], seconds: float, limit: int) -> tuple[str, str]:
    """On the node: what the doctor prints there, and how it ended."""
    command = [sys.executable, "-I", "-c", stub, *arguments]
    try:
        # a worker's folder may be anybody's; the doctor that is unpacked there finds its own
        done = subprocess.run(command, input=package, capture_output=True, timeout=seconds, check=False, cwd="/")
    except subprocess.TimeoutExpired:
        return "", "its check did not end within %d seconds" % seconds
    if len(done.stdout) > limit:
        return "", "it printed more than %d MiB" % (limit >> 20)
    errors = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.stdout.decode("utf-8", "replace"), errors[-1] if errors else "it answered nothing"


def say(mark: str, value: object) -> None:
    sys.stdout.write("\n@@%s %s\n" % (mark, json.dumps(value)))
    sys.stdout.flush()


def named(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """NodeID -> name: the host's, with the beginning of the id where several nodes share a host."""
    hosts = [node["NodeManagerHostname"] for node in nodes]
    return {
        node["NodeID"]: host if hosts.count(host) == 1 else "%s-%s" % (host, node["NodeID"][:8])
        for node, host in zip(nodes, hosts)
    }


def start(ray: Any, settings: dict[str, Any], package: bytes, names: dict[str, str]) -> dict[Any, str]:
    """A reference for each node; a task that must not run elsewhere, and takes no resource from anybody."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    os.environ.update(UNHIDE)
    task = ray.remote(num_cpus=0, num_gpus=0, max_retries=0, runtime_env={"env_vars": UNHIDE})(examine)
    arguments = [ray.put(package), settings["stub"], settings["arguments"], settings["seconds"], settings["limit"]]
    return {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)).remote(
            *arguments
        ): name
        for node, name in names.items()
    }


def answer(ray: Any, reference: object, name: str, sent: float, limit: int) -> dict[str, object]:
    try:
        output, failure = (str(each) for each in ray.get(reference, timeout=30))
        if len(output) + len(failure) > 2 * limit:
            output, failure = "", "it answered more than %d MiB" % (2 * limit >> 20)
    except Exception as error:  # whatever Ray raises for a node that died, left or cannot start a worker
        output, failure = "", "%s: %s" % (type(error).__name__, " ".join(str(error).split())[:_FAILURE])
    return {"node": name, "sent": sent, "received": time.time(), "output": output, "failure": failure}


def knock(address: str) -> None:
    """Raises OSError at once where nobody listens; Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def main() -> None:
    settings = json.loads(sys.argv[1])
    package = sys.stdin.buffer.read()
    knock(settings["address"])
    import ray

    ray.init(address=settings["address"], log_to_driver=False, logging_level="ERROR", configure_logging=False)
    names = named([node for node in ray.nodes() if node["Alive"]])
    say(settings["mark"], {"nodes": sorted(names.values()), "at": time.time()})
    sent = time.time()
    waiting = start(ray, settings, package, names)
    deadline = time.monotonic() + settings["seconds"] + settings["start"]
    while waiting and time.monotonic() < deadline:
        done, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()), fetch_local=False)
        for reference in done:
            say(settings["mark"], answer(ray, reference, waiting.pop(reference), sent, settings["limit"]))
    for name in waiting.values():
        failure = "no answer within %d seconds" % (settings["seconds"] + settings["start"])
        say(settings["mark"], {"node": name, "sent": sent, "received": time.time(), "output": "", "failure": failure})
    for reference in waiting:
        ray.cancel(reference, force=True)
    # an orderly shutdown waits for nodes that are no more
    os._exit(0)


if __name__ == "__main__":
    main()
