"""Chatwright on a Ray cluster of this machine, for benchmarks: `python ray_cluster.py SETTINGS REPLICAS OVERRIDES`,
the settings as a file of JSON.

Run by an environment that has Ray. Ends everything on SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster

from chatwright.cluster import deploy
from chatwright.config import Settings


def main() -> None:
    """A head with the API, and a node for each replica."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    replicas, overrides = int(sys.argv[2]), json.loads(sys.argv[3])
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        for _ in range(replicas):
            cluster.add_node(num_cpus=1, resources={"engine": 1})
        target = deploy.Target(
            cluster.address, api_cpus=2, proxies="HeadOnly", wait_seconds=180, overrides=overrides
        )
        print(deploy.deploy(settings, target), flush=True)
        ending.wait()
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
