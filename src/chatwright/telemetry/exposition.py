"""Counts as Prometheus reads them.

Each metric has the name that vLLM's dashboards ask for, once as `vllm:` and once as `chatwright:`; what vLLM doesn't
have is `chatwright:` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chatwright.core.engine import EngineStats
from chatwright.telemetry.counts import Counts, Histogram, ModelCounts

OURS = "chatwright"
PREFIXES = (OURS, "vllm")

HISTOGRAMS = {
    "time_to_first_token_seconds": ("time_to_first_token", "Seconds from admission to the first token."),
    "inter_token_latency_seconds": ("inter_token", "Seconds between tokens of a stream."),
    "time_per_output_token_seconds": ("inter_token", "The older name of inter_token_latency_seconds."),
    "request_time_per_output_token_seconds": ("per_output_token", "Mean seconds a token, of each request."),
    "e2e_request_latency_seconds": ("end_to_end", "Seconds from admission to the end."),
    "request_queue_time_seconds": ("queue", "Seconds a request waited in the engine's queue."),
    "request_prefill_time_seconds": ("prefill", "Seconds from the first step to the first token."),
    "request_decode_time_seconds": ("decode", "Seconds from the first token to the last."),
    "request_inference_time_seconds": ("inference", "Seconds from the first step to the last token."),
    "request_prompt_tokens": ("prompt_lengths", "Tokens of prompts."),
    "request_generation_tokens": ("output_lengths", "Tokens of answers."),
    "request_max_num_generation_tokens": ("output_lengths", "The same: each request has one answer."),
}
COUNTERS = {
    "prompt_tokens": ("prompt_tokens", "Tokens of prompts."),
    "generation_tokens": ("output_tokens", "Generated tokens."),
    "prefix_cache_queries": ("prompt_tokens", "Tokens looked up in the prefix cache."),
    "prefix_cache_hits": ("cached_tokens", "Tokens that the prefix cache held."),
    "spec_decode_num_accepted_tokens": ("accepted_drafts", "Tokens guessed ahead that were right."),
}
GAUGES = {
    "num_requests_running": "Requests that the engine runs.",
    "num_requests_waiting": "Requests that wait for the engine.",
    "kv_cache_usage_perc": "Part of the KV blocks in use; 1 is all of them.",
    "gpu_cache_usage_perc": "The older name of kv_cache_usage_perc.",
}


class Exposition(Collector):
    """One scrape: the counts, and each model's engine as it is now."""

    def __init__(
        self,
        counts: Counts,
        engines: Mapping[str, EngineStats],
        ready: Mapping[str, bool],
        replicas: Mapping[str, Mapping[str, bool]] | None = None,
    ) -> None:
        """By model; `replicas` tells which of a model's several engines are ready, by name."""
        self._replicas = replicas or {}
        self._counts = counts
        self._engines = engines
        self._ready = ready

    def encode(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the scraper accepts."""
        registry = CollectorRegistry()
        registry.register(self)
        encoder, content_type = choose_encoder(accept)
        return encoder(registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are clear without a trial run."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        for prefix in PREFIXES:
            yield from self._histograms(prefix)
            yield from self._counters(prefix)
            yield from self._gauges(prefix)
        yield self._grammars()
        yield from self._own()

    def _histograms(self, prefix: str) -> Iterator[Metric]:
        for name, (member, text) in HISTOGRAMS.items():
            family = HistogramMetricFamily(f"{prefix}:{name}", text, labels=["model_name"])
            for slug, counts in self._counts.models.items():
                histogram: Histogram = getattr(counts, member)
                family.add_metric([slug], _buckets(histogram), histogram.total)
            yield family

    def _counters(self, prefix: str) -> Iterator[Metric]:
        for name, (member, text) in COUNTERS.items():
            family = CounterMetricFamily(f"{prefix}:{name}", text, labels=["model_name"])
            for slug, counts in self._counts.models.items():
                family.add_metric([slug], getattr(counts, member))
            yield family
        drafts = CounterMetricFamily(
            f"{prefix}:spec_decode_num_draft_tokens", "Tokens guessed ahead.", labels=["model_name"]
        )
        for slug, counts in self._counts.models.items():
            drafts.add_metric([slug], counts.accepted_drafts + counts.rejected_drafts)
        yield drafts
        success = CounterMetricFamily(
            f"{prefix}:request_success", "Ended requests.", labels=["model_name", "finished_reason"]
        )
        for slug, reason, number in _endings(self._counts.models):
            success.add_metric([slug, reason], number)
        yield success

    def _gauges(self, prefix: str) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(f"{prefix}:{name}", text, labels=["model_name"])
            for name, text in GAUGES.items()
        }
        preemptions = CounterMetricFamily(
            f"{prefix}:num_preemptions", "Preempted requests, since the engine began.", labels=["model_name"]
        )
        for slug, stats in self._engines.items():
            families["num_requests_running"].add_metric([slug], stats.running)
            families["num_requests_waiting"].add_metric([slug], stats.waiting)
            used = stats.kv_blocks_used / stats.kv_blocks_total if stats.kv_blocks_total else 0.0
            for name in ("kv_cache_usage_perc", "gpu_cache_usage_perc"):
                families[name].add_metric([slug], used)
            preemptions.add_metric([slug], stats.preemptions)
        yield from families.values()
        yield preemptions

    def _grammars(self) -> Metric:
        grammars = HistogramMetricFamily(
            f"{OURS}:grammar_compile_seconds",
            "Seconds a constrained request waited for its grammar, compiled or found.",
            labels=["model_name"],
        )
        for slug, counts in self._counts.models.items():
            grammars.add_metric([slug], _buckets(counts.grammar), counts.grammar.total)
        return grammars

    def _own(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(f"{OURS}:engine_ready", "Whether the engine serves.", labels=["model_name"])
        for slug, ready in self._ready.items():
            up.add_metric([slug], float(ready))
        yield up
        replicas = GaugeMetricFamily(
            f"{OURS}:replica_ready", "Whether one of its replicas serves.", labels=["model_name", "replica"]
        )
        for slug, members in self._replicas.items():
            for name, ready in members.items():
                replicas.add_metric([slug, name], float(ready))
        yield replicas
        responses = CounterMetricFamily(f"{OURS}:http_responses", "Answers by status.", labels=["status"])
        for status, number in self._counts.responses.items():
            responses.add_metric([status], number)
        yield responses
        for member, text in (
            ("requests", "Admitted requests by key id."),
            ("input_tokens", "Tokens of prompts by key id."),
            ("output_tokens", "Generated tokens by key id."),
        ):
            family = CounterMetricFamily(f"{OURS}:key_{member}", text, labels=["key_id"])
            for key_id, counts in self._counts.keys.items():
                family.add_metric([key_id], getattr(counts, member))
            yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(histogram.counts)), strict=True))


def _endings(models: Mapping[str, ModelCounts]) -> Iterator[tuple[str, str, int]]:
    for slug, counts in models.items():
        for reason, number in counts.ended.items():
            yield slug, reason, number
