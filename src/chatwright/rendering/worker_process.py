"""The child that renders templates of requests: `python -I -m chatwright.rendering.worker_process MEMORY_BYTES`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any

from chatwright.core.errors import ChatwrightError, InvalidChatTemplate
from chatwright.rendering.template import ChatTemplate, RenderJob, reason
from chatwright.workers import child

PARAM = "chat_template"
CACHED_TEMPLATES = 32
LAZY_IMPORTS = ("jinja2.constants", "jinja2.debug", "textwrap", "pprint", "html", "unicodedata")
"""What filters and string escapes import only when used: later no file can be opened."""


def answer_job(frame: bytes) -> dict[str, Any]:
    """Render one job: `text` and `unused_variables`, or the error's `code`, `message` and `param`."""
    try:
        payload = json.loads(frame)
        tokens = tuple(sorted(payload["special_tokens"].items()))
        template = _compiled(payload["source"], tokens, payload["max_bytes"])
        rendered = template.render(RenderJob(**payload["job"]))
    except ChatwrightError as error:
        return {"code": error.code, "message": error.message, "param": error.param}
    except Exception as error:
        return {"code": InvalidChatTemplate.code, "message": reason(error), "param": PARAM}
    return {"text": rendered.text, "unused_variables": rendered.unused_variables}


@lru_cache(CACHED_TEMPLATES)
def _compiled(source: str, special_tokens: tuple[tuple[str, str], ...], max_bytes: int) -> ChatTemplate:
    return ChatTemplate(source, dict(special_tokens), param=PARAM, max_bytes=max_bytes)


def warm_up() -> None:
    """Load all that a rendering may load, its failures included."""
    for module in LAZY_IMPORTS:
        import_module(module)
    job = RenderJob([{"role": "user", "content": "x"}])
    ChatTemplate("{{ strftime_now('%Y %B %Z') }}{{ messages | tojson }}", {}).render(job)
    with suppress(InvalidChatTemplate):
        ChatTemplate("{{ 1 / 0 }}", {}).render(job)


if __name__ == "__main__":
    child.serve(int(sys.argv[1]), warm_up, answer_job)
