"""Runs another program, and ends it with everything it started once standard input closes: `python -m ... PROGRAM ARGUMENTS`.

Whoever started us holds the other end of that, so nothing outlives a replica that is killed, its GPU memory least of all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    """Exit status of the program, 127 where it can't be started.

    Ray kills the children of a worker that it kills, but not theirs: the one who watches is a grandchild.
    """
    watcher = os.fork()
    if watcher == 0:
        os._exit(_keep(command))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(watcher, signal.SIGTERM))
    _, status = os.waitpid(watcher, 0)
    return _as_shells_do(os.waitstatus_to_exitcode(status))


def _keep(command: list[str]) -> int:
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  the operator's own
    except OSError as error:
        sys.stderr.write(f"{command[0]} can't be started: {error}\n")
        sys.stderr.flush()
        return 127
    signal.signal(signal.SIGTERM, lambda *_: _end(program))
    threading.Thread(target=_end_with_input, args=(program,), daemon=True).start()
    status = program.wait()
    _signal(program, signal.SIGKILL)  # what it started, too
    return _as_shells_do(status)


def _as_shells_do(status: int) -> int:
    return status if status >= 0 else 128 - status


def _end_with_input(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    """Gently first."""
    _signal(program, signal.SIGTERM)
    later = threading.Timer(GRACE_SECONDS, _signal, (program, signal.SIGKILL))
    later.daemon = True
    later.start()


def _signal(program: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
