"""Engines of other servers, spoken to over HTTP in token ids: everything that doesn't differ between them.

Owns: connections, server-sent events, timeouts, failures, the circuit breaker, health checks, how an answer ends.
May not touch: text, templates, configuration; any server's field names (those are in `engines/<server>.py`).
To add a server: a file beside this room with a class that follows `dialect.Dialect`, and a line in `server/remote.py`.
"""
