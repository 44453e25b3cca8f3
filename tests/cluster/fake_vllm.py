"""A server that speaks as vLLM does, as far as Chatwright listens: `python fake_vllm.py --host H --port P --key K --pause S`.

Its tokens follow from prompt and seed. What it was started with it never forgets to ask for: the key.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GENERATE = "/inference/v1/generate"
LETTERS = range(1000, 2000)
"""Ids of plain words in the tests' vocabulary."""


def tokens(body: dict[str, Any]) -> Iterator[int]:
    """Without an end."""
    number = sum(body["token_ids"]) + body["sampling_params"].get("seed", 0)
    while True:
        number = (number * 1_103_515_245 + 12_345) % 2**31
        yield LETTERS[number % len(LETTERS)]


def refuses(params: dict[str, Any]) -> bool:
    """As a vLLM with guidance and our logits processors does, of what asks for these."""
    probe = ((params.get("extra_args") or {}).get("chatwright") or {}).get("probe")
    return bool(probe) or "structural_tag" in (params.get("structured_outputs") or {})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    running = 0
    lock = threading.Lock()
    told: argparse.Namespace

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        pages = {
            "/health": {},
            "/version": {"version": f"0.32.0 of {os.getpid()}"},
            "/v1/models": {"data": [{"id": "m", "max_model_len": 8192}]},
        }
        if self.path == "/metrics":
            lines = [
                f"vllm:num_requests_running {Handler.running}",
                'vllm:cache_config_info{num_gpu_blocks="100"} 1',
            ]
            self._whole(200, "\n".join(lines).encode() + b"\n", "text/plain")
        else:
            self._json(200 if self.path in pages else 404, pages.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["authorization"] != f"Bearer {self.told.key}":
            self._json(401, {"error": "Unauthorized"})
        elif self.path != GENERATE:
            self._json(404, None)
        elif refuses(body["sampling_params"]):
            self._json(400, {"error": {"message": "no"}})
        elif body.get("stream"):
            self._stream(body)
        else:
            ends = body["sampling_params"].get("stop_token_ids") or [0]
            self._json(200, {"choices": [{"token_ids": [66, ends[0]], "stop_reason": ends[0]}]})

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        most = body["sampling_params"]["max_tokens"]
        with Handler.lock:
            Handler.running += 1
        try:
            for made, token in enumerate(tokens(body), 1):
                time.sleep(self.told.pause)
                finish = "length" if made == most else None
                self._event({"choices": [{"token_ids": [token], "finish_reason": finish}]})
                if finish:
                    break
            self._event({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 0}}})
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except OSError:
            self.close_connection = True
        finally:
            with Handler.lock:
                Handler.running -= 1

    def _event(self, value: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, value: Any) -> None:
        self._whole(status, json.dumps(value).encode(), "application/json")

    def _whole(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--pause", type=float, default=0.0)
    Handler.told = parser.parse_args()
    ThreadingHTTPServer((Handler.told.host, Handler.told.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
