"""The child's side: it limits itself, then answers one frame after the other.

Frames on stdin and stdout: four bytes of length, big-endian, then that much JSON in UTF-8. The child sends
`{"ready": true}`, then one answer for each job. It limits itself before it reads anything, since code between
fork and exec isn't safe in a parent with threads. A child should import nothing that is slow to import.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

CPU_SECONDS = 2
"""A backstop for a job whose parent died; the parent's clock is what normally ends a job."""
RETIRE_BYTES = 128 * 2**20
"""A child that has grown by this much when a job ends leaves, since Python gives memory back late or never."""
OPEN_FILES = 3
NICENESS = 5


def serve(
    memory_bytes: int,
    warm_up: Callable[[], object],
    answer_job: Callable[[bytes], dict[str, Any]],
    cpu_seconds: float = 0,
) -> None:
    """Serve jobs until stdin ends or the child has grown too large. `warm_up` runs before the doors are shut.

    A job that needs more than `cpu_seconds` ends the child with SIGPROF; 0 is no such limit.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    warm_up()
    size_file = os.open("/proc/self/statm", os.O_RDONLY)
    shut_doors()
    enough = resident_bytes(size_file) + RETIRE_BYTES
    write_frame({"ready": True})
    while (frame := read_frame()) is not None:
        grant_cpu(cpu_seconds)
        answer = answer_job(frame)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer["retire"] = resident_bytes(size_file) > enough
        write_frame(answer)
        if answer["retire"]:
            break


def shut_doors() -> None:
    """No new file or socket, no written file, no child, no core dump, and less of the CPU than the engine."""
    for limit, value in (
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    os.nice(NICENESS)


def grant_cpu(seconds: float) -> None:
    """CPU time for one job on top of what was used. Unlike a clock, it doesn't blame a job for a busy machine."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + max(CPU_SECONDS, math.ceil(seconds)), hard))


def resident_bytes(size_file: int) -> int:
    """Of this process, read from its open statm file."""
    return int(os.pread(size_file, 256, 0).split()[1]) * resource.getpagesize()


def read_frame() -> bytes | None:
    """The next job; None once the parent has gone."""
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        return None
    return sys.stdin.buffer.read(int.from_bytes(head))


def write_frame(value: dict[str, Any]) -> None:
    """Send an answer."""
    body = json.dumps(value, ensure_ascii=False).encode()
    sys.stdout.buffer.write(len(body).to_bytes(4) + body)
    sys.stdout.buffer.flush()
