"""Run by a Python with Ray: a cluster of several nodes on this machine, each with its own variables.

Reads one JSON object on stdin, `{label: variables}`; prints the address and each node's id; `kill LABEL` on stdin then
kills that node as a power cut would; the end of stdin ends the cluster.
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    cluster = Cluster()
    nodes = {label: cluster.add_node(num_cpus=1, env_vars=variables) for label, variables in wanted.items()}
    cluster.wait_for_nodes()
    ids = {label: node.node_id for label, node in nodes.items()}
    print(json.dumps({"address": cluster.address, "ids": {k: str(v) for k, v in ids.items()}}), flush=True)  # noqa: T201
    for line in sys.stdin:
        word, label = line.split()
        if word == "kill":
            cluster.remove_node(nodes[label], allow_graceful=False)
    cluster.shutdown()


if __name__ == "__main__":
    main()
