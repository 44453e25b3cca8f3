"""Engines: GenerationRequest -> TokenChunk stream. One file or room each.

Owns: how tokens are made, and where.
May not touch: rendering, tokenization, parsing, accounts, HTTP of our own API.
To add an engine: a file here with a class that follows `core.engine.Engine`, and a line in `server/assembly.py`.
"""
