"""`OpenVINORunner`: one `infer` of the body and one of the head a step, KV blocks bound once."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino as ov

from chatwright.core.errors import EngineFailed
from chatwright.engines.batching.runner import RunnerInfo, StepBatch, StepLogits
from chatwright.engines.openvino.graph import SAMPLED, split

BLOCK_SIZE = 32  # what the CPU plugin's paged attention works with
_BF16 = {"INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": "bf16"}
_F32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f16"}
"""In float32 its paged attention refuses bf16 keys and values; f16 takes as many bytes."""
_ROWS = (1, 2, 4, 8, 16, 32)
"""Sizes of a step among which the plugin may change kernels; all fit a block."""


@contextlib.contextmanager
def _blamed_on(model_xml: Path) -> Iterator[None]:
    """Whatever a library says about files it wasn't made for, as EngineFailed with its last line."""
    try:
        yield
    except EngineFailed:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise EngineFailed(f"OpenVINO can't run {model_xml.parent.name}: {reason}") from error


def _read(core: ov.Core, model_xml: Path) -> ov.Model:
    for file in (model_xml, model_xml.with_suffix(".bin")):
        if not file.is_file():
            raise EngineFailed(f"{model_xml.parent.name} holds no {file.name}.")
    return core.read_model(model_xml)


def block_bytes(model_xml: Path) -> int:
    """Bytes one KV block takes over all layers, for sizing the pool (keys and values of 16 bits). Raises EngineFailed."""
    with _blamed_on(model_xml):
        model = _read(ov.Core(), model_xml)
        states = [op for op in model.get_ops() if op.get_type_name() == "ReadValue"]
        if not states:
            raise EngineFailed(
                f"{model_xml.parent.name} is no stateful decoder: it keeps no keys and values."
            )
        total = 0
        for state in states:
            shape = state.output(0).get_partial_shape()
            total += shape[1].get_length() * shape[3].get_length() * 2 * BLOCK_SIZE
        return total


class OpenVINORunner:
    """Decoder on the CPU plugin, in bf16 where the processor has it and logits don't depend on the batch then, else in
    float32. That takes company for small batches; without `reproducible` they go alone, in bf16 where there is any. Raises
    EngineFailed for a folder that holds no such model.
    """

    def __init__(
        self,
        model_xml: Path,
        *,
        context_length: int,
        block_count: int,
        threads: int,
        candidates: int = 64,
        cache_dir: Path | None = None,
        reproducible: bool = True,
    ) -> None:
        core = ov.Core()
        with _blamed_on(model_xml):
            body, head = split(_read(core, model_xml), candidates)
            options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
            self._scratch_block = block_count
            self._least_sequences = threads if reproducible else 1
            precision = self._compile_body(core, body, options, reproducible=reproducible)
            single = {"INFERENCE_PRECISION_HINT": "f32"}
            self._head = core.compile_model(head, "CPU", options | single).create_infer_request()
            vocabulary = head.outputs[0].get_partial_shape()[1].get_length()
            fingerprint = _fingerprint(model_xml, precision)
        self._info = RunnerInfo(
            name="openvino",
            fingerprint=fingerprint,
            vocab_size=vocabulary,
            context_length=context_length,
            block_size=BLOCK_SIZE,
            block_count=block_count,
            candidates=min(candidates, vocabulary),
            exact_recompute=False,
            reproducible=reproducible,
        )

    def _compile_body(
        self, core: ov.Core, body: ov.Model, options: dict[str, object], *, reproducible: bool
    ) -> dict[str, str]:
        """Body and caches in the first precision whose kernels keep to one order of sums, or simply the first; returns which."""
        capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        for precision in (_BF16, _F32) if capable else (_F32,):
            self._caches: list[ov.Tensor] = []
            self._body = core.compile_model(body, "CPU", options | precision).create_infer_request()
            self._caches = self._bind_caches(self._scratch_block + 1)
            if not reproducible or (precision is _BF16 and self._is_steady()):
                break
        return precision

    def _is_steady(self) -> bool:
        """Whether a token leaves the body with the same bits in small and large steps, of a prompt and of decode tokens. On
        Emerald Rapids Xeons the plugin has other bf16 products for four rows and fewer.
        """
        prompts = {self._first_row(rows, 0) for rows in _ROWS if rows > 1}
        decoded = {self._first_row(1, max(rows, self._least_sequences) - 1) for rows in _ROWS}
        return len(prompts) == len(decoded) == 1

    def _first_row(self, tokens: int, company: int) -> bytes:
        """The hidden state of the first of so many tokens, computed with `company` more sequences."""
        ids, zero = np.ones(tokens, np.int32), np.zeros(1, np.int32)
        places = np.arange(tokens, dtype=np.int32)
        begins = np.array([0, tokens], np.int32)
        batch = StepBatch(ids, places, zero, begins, zero, np.array([0, 1], np.int32), zero)
        row: bytes = self._hidden(self._accompanied(batch, company)).data[0].tobytes()
        return row

    def _bind_caches(self, block_count: int) -> list[ov.Tensor]:
        tensors = []
        for port in self._body.get_compiled_model().inputs:
            names = [name for name in port.get_names() if name.startswith(("key_cache.", "value_cache."))]
            if names:
                shape = [
                    block_count,
                    *(dimension.get_length() for dimension in list(port.get_partial_shape())[1:]),
                ]
                tensor = ov.Tensor(port.get_element_type(), ov.Shape(shape))
                self._body.set_tensor(names[0], tensor)
                tensors.append(tensor)
        return tensors

    @property
    def info(self) -> RunnerInfo:
        """Shapes for the scheduler."""
        return self._info

    def forward(self, batch: StepBatch) -> StepLogits:
        """Body for every token, head for the sampled rows."""
        alone = self._least_sequences - len(batch.past_lens)
        if alone > 0 and len(batch.token_ids) == len(batch.past_lens):
            batch = self._accompanied(batch, alone)
        self._head.set_input_tensor(0, self._hidden(batch))
        self._head.infer()
        logits, values, ids = (self._head.get_output_tensor(index).data for index in range(3))
        return StepLogits(*_order_ties(ids, values), logits)

    def _hidden(self, batch: StepBatch) -> ov.Tensor:
        """What the body makes of a batch, for the sampled rows; valid until the next call."""
        ends = batch.past_lens + np.diff(batch.subsequence_begins)
        inputs = {
            "input_ids": batch.token_ids.astype(np.int64),
            "position_ids": batch.positions.astype(np.int64),
            "past_lens": batch.past_lens,
            "subsequence_begins": batch.subsequence_begins,
            "block_indices": batch.block_indices,
            "block_indices_begins": batch.block_indices_begins,
            "max_context_len": np.array(ends.max(), np.int32),
            SAMPLED: batch.sampled_indices,
        }
        for name, array in inputs.items():
            self._body.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._body.infer()
        return self._body.get_output_tensor(0)

    def _accompanied(self, batch: StepBatch, count: int) -> StepBatch:
        """A step with `count` more sequences of one token beside its own, in a block that nobody else uses.

        The plugin splits the contexts of fewer sequences than threads over its threads, which adds the parts up in
        another order than in a larger batch; with company the order is always the same.
        """
        none, tokens, blocks = np.zeros(count, np.int32), len(batch.token_ids), len(batch.block_indices)
        more = np.arange(1, count + 1, dtype=np.int32)
        return batch._replace(
            token_ids=np.append(batch.token_ids, none),
            positions=np.append(batch.positions, none),
            past_lens=np.append(batch.past_lens, none),
            subsequence_begins=np.append(batch.subsequence_begins, more + np.int32(tokens)),
            block_indices=np.append(batch.block_indices, none + np.int32(self._scratch_block)),
            block_indices_begins=np.append(batch.block_indices_begins, more + np.int32(blocks)),
        )

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy within every layer's cache."""
        sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
        for cache in self._caches:
            cache.data[targets] = cache.data[sources]

    def export_blocks(self, blocks: Sequence[int]) -> bytes:
        """Layer after layer, keys then values, the named blocks in order."""
        return b"".join(_raw(cache)[list(blocks)].tobytes() for cache in self._caches)

    def import_blocks(self, blocks: Sequence[int], data: bytes) -> None:
        """The inverse of `export_blocks`."""
        views = [_raw(cache) for cache in self._caches]
        sizes = [len(blocks) * view.shape[1] for view in views]
        if len(data) != sum(sizes):
            raise ValueError(f"KV of {len(data)} bytes doesn't fit {len(blocks)} blocks of this model")
        offset = 0
        for view, size in zip(views, sizes, strict=True):
            view[list(blocks)] = np.frombuffer(data, np.uint8, size, offset).reshape(-1, view.shape[1])
            offset += size

    def close(self) -> None:
        """Drop requests and caches."""
        self._caches = []
        del self._body, self._head


def _raw(cache: ov.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A cache as [blocks, bytes]: bf16 has no numpy type of its own."""
    return np.asarray(cache.data).view(np.uint8).reshape(cache.shape[0], -1)


def _order_ties(ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates by descending logit, ties by ascending id; the plugin's TopK leaves ties in any order."""
    if not (values[:, 1:] == values[:, :-1]).any():
        return ids, values
    order = np.lexsort((ids, -values), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(values, order, 1)


def _fingerprint(model_xml: Path, precision: dict[str, str]) -> str:
    """Model bytes, library version and settings: what the logits depend on, short of the processor."""
    digest = hashlib.blake2b(digest_size=6)
    weights = model_xml.with_suffix(".bin")
    with weights.open("rb") as file:
        digest.update(file.read(1 << 20))
    digest.update(f"{weights.stat().st_size} {ov.get_version()} {sorted(precision.values())}".encode())
    return digest.hexdigest()
