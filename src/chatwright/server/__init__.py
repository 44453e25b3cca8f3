"""The server put together: the only room that knows every other.

Owns: models and accounts built from the configuration, the ASGI application, processes, signals, reload and draining.
May not touch: what a request means (that is `service/`), wire formats (`api/`).
To add an engine, a line in `assembly.py`; a setting's effect, in the module that owns what it changes.
"""
