"""A Ray cluster of several nodes on this machine, told what to do by lines of JSON: `python nodes.py`, run by `conftest.py`.

A process of its own, so that whoever tests has none of Ray's threads, and everything ends with it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import ray
from ray import serve
from ray.cluster_utils import Cluster

from chatwright.cluster.actors import find_directory


class Nodes:
    """The head with room for the API, and nodes with room for one replica each (resource `engine`)."""

    def __init__(self, engines: int) -> None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 6, "include_dashboard": False}
        )
        self.workers: list[Any] = []
        for _ in range(engines):
            self.add_node()
        ray.init(
            address=self.cluster.address, namespace="chatwright", log_to_driver=False, logging_level="error"
        )

    def add_node(self, labels: dict[str, str] | None = None) -> str:
        """Its id."""
        node = self.cluster.add_node(num_cpus=1, resources={"engine": 1}, labels=labels or {})
        self.workers.append(node)
        return str(node.node_id)

    def address(self) -> str:
        return self.cluster.address

    def deploy(self, config: str, **target: Any) -> dict[str, Any]:
        """With `overrides`, which the command line has no words for."""
        from pathlib import Path

        import msgspec

        from chatwright.cluster import deploy
        from chatwright.config import load

        ray.shutdown()
        try:
            chosen = deploy.Target(self.cluster.address, proxies="HeadOnly", wait_seconds=120, **target)
            return msgspec.to_builtins(deploy.deploy(load(Path(config)), chosen))
        finally:
            ray.shutdown()
            ray.init(
                address=self.cluster.address,
                namespace="chatwright",
                log_to_driver=False,
                logging_level="error",
            )

    def replicas(self) -> list[str]:
        """Names of the actors that are replicas of models."""
        names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
        return [name for name in names if name.startswith("SERVE_REPLICA") and "-model-" in name]

    def kill_replica(self) -> str:
        """One that serves; at once."""
        name = self.replicas()[0]
        ray.kill(ray.get_actor(name, namespace="serve"))
        return name

    def engine_nodes(self) -> list[str]:
        """Ids of the nodes on which replicas are that may get requests, one for each."""
        members = ray.get(find_directory("chatwright").watch.remote(0, 0.0)).members
        return [place.node for places in members.values() for place in places.values()]

    def kill_node(self) -> str:
        """One that has a replica, with everything on it, at once."""
        node = next(one for one in self.workers if one.node_id in self.engine_nodes())
        self.workers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def applications(self) -> dict[str, Any]:
        return {
            name: {
                "status": app.status.value,
                "replicas": [d.replica_states for d in app.deployments.values()],
            }
            for name, app in serve.status().applications.items()
        }

    def end(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


def main() -> None:
    """A line in: [name, arguments]; a line out: {"ok": ...} or {"error": ...}. Ends with standard input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what others print is no answer
    nodes = Nodes(int(sys.argv[1]))
    try:
        print(json.dumps({"ok": nodes.address()}), file=answers, flush=True)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            try:
                answer = {"ok": getattr(nodes, name)(**arguments)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer, default=str), file=answers, flush=True)
    finally:
        nodes.end()


if __name__ == "__main__":
    main()
