"""PostgreSQL and Redis for the tests. `python tests/servers.py` makes sure that both are there, which `make test` does first.

Where they aren't installed: root installs Debian's packages (no service is started); anybody else has the packages downloaded
and unpacked into `.venv/servers`, which changes nothing outside of it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNPACKED = Path(__file__).parents[1] / ".venv" / "servers"
NEEDED = ("initdb", "pg_ctl", "redis-server")
POLICY = Path("/usr/sbin/policy-rc.d")
NOT_NEEDED = ("libllvm", "libz3", "libperl")  # for just-in-time compilation and PL/Perl


def find(name: str) -> Path | None:
    """A server's program: installed, or unpacked by us."""
    unpacked = [UNPACKED / "usr/bin" / name]
    for root in (Path("/"), UNPACKED):
        unpacked += sorted(root.glob(f"usr/lib/postgresql/*/bin/{name}"), reverse=True)
    installed = shutil.which(name)
    found = [Path(installed)] if installed else [path for path in unpacked if path.exists()]
    return found[0] if found else None


def missing() -> list[str]:
    """Names of the programs that are nowhere."""
    return [name for name in NEEDED if find(name) is None]


def environment() -> dict[str, str]:
    """For programs that may be unpacked ones: their libraries lie beside them."""
    folders = [UNPACKED / "usr/lib", UNPACKED / "lib"]
    paths = [str(path) for folder in folders for path in folder.glob("*-linux-gnu*")]
    known = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*paths, *([known] if known else [])])}


def main() -> None:
    """Fetch what is missing. Always ends well: without the servers their tests are skipped, and say so."""
    if not missing():
        return
    print(f"fetching {', '.join(missing())} for the tests ...", flush=True)
    try:
        install() if can_install() else unpack()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"servers.py: {error}\n{getattr(error, 'stderr', None) or ''}", file=sys.stderr)
    if missing():
        print(f"!!! {WARNING.format(', '.join(missing()))}", file=sys.stderr)


WARNING = "NOT TESTED: there is no {} here, and none could be fetched. Install the packages postgresql and redis-server."


def can_install() -> bool:
    """Whether we may install packages: as root, or by sudo without a password."""
    if os.geteuid() == 0:
        return True
    return bool(shutil.which("sudo")) and not subprocess.run([*superuser(), "true"], check=False).returncode


def superuser() -> list[str]:
    """What to write before a command of root's."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def install() -> None:
    """With apt-get. Neither server is started: a policy forbids it meanwhile, unless there is one already."""
    with no_services():
        if not candidate("redis-server"):
            run(*superuser(), "apt-get", "update")
        wanted = ("postgresql", "redis-server")
        options = ("-q", "-y", "--no-install-recommends")
        run(*superuser(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *options, *wanted)


@contextmanager
def no_services() -> Iterator[None]:
    """Debian's packages ask this program before they start anything; 101 is no."""
    if POLICY.exists():
        yield
        return
    run(*superuser(), "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}")
    try:
        yield
    finally:
        run(*superuser(), "rm", "-f", str(POLICY))


def unpack() -> None:
    """Without root: download the packages and the libraries that this machine lacks, and unpack them side by side."""
    UNPACKED.mkdir(parents=True, exist_ok=True)
    state = own_state()
    depends = run("apt-cache", *state, "depends", "postgresql").split()
    postgresql = next(word for word in depends if word.startswith("postgresql-") and word[-1].isdigit())
    servers = [postgresql, "redis-server", "redis-tools"]
    folder = UNPACKED / "packages"
    folder.mkdir(exist_ok=True)
    libraries = sorted(absent(state, servers) - set(servers))
    run("apt-get", *state, "-q", "download", *servers, *libraries, cwd=folder)
    for package in folder.glob("*.deb"):
        run("dpkg-deb", "-x", str(package), str(UNPACKED))
    shutil.rmtree(folder)


def own_state() -> list[str]:
    """Options for apt to work without root; with package lists of our own where the machine has none."""
    state = ["-o", "Debug::NoLocking=1"]
    if not candidate("redis-server"):
        lists, cache = UNPACKED / "apt/lists/partial", UNPACKED / "apt/cache/archives/partial"
        for path in (lists, cache):
            path.mkdir(parents=True, exist_ok=True)
        state += ["-o", f"Dir::State::lists={lists.parent}", "-o", f"Dir::Cache={cache.parents[1]}"]
        run("apt-get", *state, "-q", "update")
    return state


def absent(state: list[str], wanted: list[str]) -> set[str]:
    """Libraries that these packages need and this machine doesn't have."""
    plan = run("apt-get", *state, "install", "--simulate", "--no-install-recommends", *wanted)
    names = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")}
    return {name for name in names if name.startswith("lib") and not name.startswith(NOT_NEEDED)}


def candidate(package: str) -> bool:
    """Whether apt knows where to get it."""
    return "Candidate: (none)" not in (text := run("apt-cache", "policy", package)) and "Candidate" in text


def run(*command: str, cwd: Path | None = None) -> str:
    """What it prints. Raises CalledProcessError, OSError where there is no such program."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return done.stdout


class PostgreSQL:
    """A cluster of its own in `folder`, which must be short: it listens on a socket there. Fast, not durable."""

    def __init__(self, folder: Path) -> None:
        """Make it; nothing runs yet. PostgreSQL refuses to run as root, so root hands it to another user."""
        self.folder = folder
        self.url = f"postgresql://test@/postgres?host={folder}"
        self._user = _server_user()
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        names = ("-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self._run("initdb", "-D", str(folder / "data"), *names)

    def start(self) -> None:
        """Until it accepts connections."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=50 -c jit=off"
        self._ctl("-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """At once, as if it had crashed; "fast" is in order."""
        self._ctl("-m", mode, "stop")

    def _ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", *arguments)

    def _run(self, name: str, *arguments: str) -> None:
        program = find(name)
        assert program is not None
        subprocess.run(
            [program, *arguments],
            check=True,
            user=self._user,
            cwd="/",
            env=environment(),
            stdout=subprocess.DEVNULL,
        )


class Redis:
    """A server of its own on a socket in `folder`, without persistence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder / 'redis'}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Until it accepts connections."""
        program = find("redis-server")
        assert program is not None
        options = (
            "--port",
            "0",
            "--unixsocket",
            str(self.folder / "redis"),
            "--save",
            "",
            "--appendonly",
            "no",
        )
        self._process = subprocess.Popen(
            [program, *options], cwd=self.folder, stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "ready to accept connections" in line.lower():
                return
        raise RuntimeError("redis-server ended at once")

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


if __name__ == "__main__":
    main()
