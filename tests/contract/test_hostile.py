"""Hostile requests by the dozen, several at once, while another process asks after the server's health.

How fast /health answered is printed, and decides nothing.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.contract.hostile_requests import EDGES, HEADERS, OF_ANSWERS, OF_CONNECTIONS, Attack, attacks, edges

from chatwright.api.limits import TABLE

AT_ONCE = 6
POLLER = """
import http.client, json, sys, threading, time
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
times, failures = [], []
while not done.wait(0.01):
    start = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
        connection.request("GET", "/health")
        if (status := connection.getresponse().status) != 200:
            failures.append(status)
        connection.close()
    except OSError as error:
        failures.append(repr(error))
    times.append(time.perf_counter() - start)
print(json.dumps({"times": times, "failures": failures}))
"""


def test_every_limit_has_its_edge():
    assert EDGES.keys() | HEADERS.keys() | OF_ANSWERS | OF_CONNECTIONS == set(TABLE)


@pytest.mark.timeout(300)
def test_hostile_requests_get_their_status_while_health_answers(live):
    corpus = [*edges(), *attacks()]
    random.Random(1).shuffle(corpus)
    command = [sys.executable, "-c", POLLER, live.url.rsplit(":", 1)[1]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as poller:
        with httpx.Client(base_url=live.url, timeout=120) as client, ThreadPoolExecutor(AT_ONCE) as pool:
            wrong = [fault for fault in pool.map(lambda attack: fault_of(client, attack), corpus) if fault]
        seen = json.loads(poller.communicate()[0])
    times = sorted(seen["times"])
    print(
        f"{len(corpus)} hostile requests, {AT_ONCE} at once; /health asked {len(times)} times:",
        percentiles(times),
    )
    assert wrong == []
    assert seen["failures"] == []
    assert len(times) > 10


def percentiles(times: list[float]) -> str:
    return ", ".join(
        f"p{p} {1000 * times[min(len(times) - 1, len(times) * p // 100)]:.1f} ms" for p in (50, 99, 100)
    )


def fault_of(client: httpx.Client, attack: Attack) -> str | None:
    """What was wrong with the answer to a request."""
    headers = {"authorization": "Bearer contract-key", **attack.headers}
    response = client.post("/v1/chat/completions", content=attack.body, headers=headers)
    if response.status_code not in attack.allowed:
        return f"{attack.name}: {response.status_code} {response.text[:200]}"
    if response.status_code >= 400:
        error = response.json()["error"]
        if len(response.content) > 4096 or error.keys() != {"message", "type", "param", "code"}:
            return f"{attack.name}: {response.text[:200]}"
        if response.status_code == 400 and attack.param and not str(error["param"]).startswith(attack.param):
            return f"{attack.name}: param {error['param']}, not {attack.param}: {error['message'][:150]}"
    return None
