"""The server under test on a Ray cluster of its own: two API processes on the head, each replica on a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.conftest import Nodes, Site, free_port

PORTS = {
    "DIRECT_INGRESS_MIN_HTTP_PORT": 30000,
    "DIRECT_INGRESS_MAX_HTTP_PORT": 30999,
    "DIRECT_INGRESS_MIN_GRPC_PORT": 40000,
    "DIRECT_INGRESS_MAX_GRPC_PORT": 40999,
    "HAPROXY_METRICS_PORT": 19101,
    "HAPROXY_STATS_PORT": 18404,
}
"""What Serve gives its replicas and its proxy: two clusters on one machine must not meet."""
MODEL_LINES = "threads = 1\nkv_cache_gib = 0.5\n[models.ray]\nresources = { engine = 1.0 }\n"


@contextmanager
def on_ray(home: Path, number: int, replicas: int, text: str) -> Iterator[str]:
    """The URL of what this configuration, whose last table is the model's, gives on the cluster of this number."""
    ports = {f"RAY_SERVE_{name}": str(port + 1000 * number) for name, port in PORTS.items()}
    nodes = Nodes(home / "nodes.log", replicas, **ports)
    site = Site(nodes, home, free_port())
    own = f'home = "{home}"\nhost = "127.0.0.1"\nport = {site.port}\n'
    site.config.write_text(f"{own}{text}{MODEL_LINES}min_replicas = {replicas}\n")
    with ExitStack() as ending:
        ending.callback(nodes.end)
        ending.callback(site.down)
        site.deploy("--api-replicas", "2")
        yield site.url
