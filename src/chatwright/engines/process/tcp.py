"""An engine process reached over TCP: where it listens, and how both ends show that they know the same secret.

Before the first frame (`frames.py`) each end proves the secret by HMAC-SHA-256 (RFC 2104) over both ends' nonces, so it
never crosses the wire, and neither a stranger's client nor a stranger who took a dead engine's port gets a token.
What follows is not encrypted: it is for a network whose nodes trust one another.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket

import msgspec

SECRET_BYTES = 32
PROOF_SECONDS = 10.0
"""How long the other end may take to prove itself."""
DEAD_SECONDS = 15
"""Silence on the wire after which a connection to a node that has vanished breaks."""
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_ENGINE, _CLIENT = b"chatwright engine 1", b"chatwright client 1"


class TcpAddress(msgspec.Struct, frozen=True):
    """Where an engine listens, and the secret that opens it."""

    host: str
    port: int
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret."""
        return f"TcpAddress({self.host!r}, {self.port})"


class TcpListener(msgspec.Struct, frozen=True):
    """A listening socket that a child inherits as `descriptor`; it outlives the child, so the port stays the same."""

    descriptor: int
    secret: bytes


def new_secret() -> bytes:
    """Draw a secret from the system's entropy."""
    return secrets.token_bytes(SECRET_BYTES)


def listen(host: str) -> socket.socket:
    """A socket that listens on a free port of this address. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.bind((host, 0))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


async def connect(address: TcpAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection both of whose ends have proved the secret. Raises OSError where nobody is there, or somebody else."""
    async with asyncio.timeout(PROOF_SECONDS):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            notice_death(writer)
            theirs = await reader.readexactly(_NONCE_BYTES)
            ours = secrets.token_bytes(_NONCE_BYTES)
            writer.write(ours + _proof(address.secret, _CLIENT, theirs, ours))
            if not hmac.compare_digest(
                await reader.readexactly(_PROOF_BYTES), _proof(address.secret, _ENGINE, theirs, ours)
            ):
                raise ConnectionError("who listens there doesn't know the secret")
        except asyncio.IncompleteReadError:
            writer.close()
            raise ConnectionError("the connection was not accepted") from None
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: bytes) -> bool:
    """The engine's half: whether who has connected knows the secret. Reads 64 bytes at most; raises nothing of the wire."""
    ours = secrets.token_bytes(_NONCE_BYTES)
    try:
        async with asyncio.timeout(PROOF_SECONDS):
            notice_death(writer)
            writer.write(ours)
            theirs = await reader.readexactly(_NONCE_BYTES)
            given = await reader.readexactly(_PROOF_BYTES)
    except (asyncio.IncompleteReadError, OSError):  # TimeoutError is an OSError
        return False
    if not hmac.compare_digest(given, _proof(secret, _CLIENT, ours, theirs)):
        return False
    writer.write(_proof(secret, _ENGINE, ours, theirs))
    return True


def notice_death(writer: asyncio.StreamWriter) -> None:
    """Have the kernel break the connection once the other node no longer answers (Linux). asyncio sets TCP_NODELAY."""
    wire = writer.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_SECONDS // 3)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_SECONDS // 3)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000)


def _proof(secret: bytes, role: bytes, engine_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.digest(secret, role + engine_nonce + client_nonce, "sha256")
