"""Counts, what Prometheus reads of them, and the dashboard that shows it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from chatwright.core.engine import EngineStats
from chatwright.core.usage import Usage
from chatwright.service.record import RequestRecord
from chatwright.telemetry.counts import MOST_KEYS, Counts, Histogram
from chatwright.telemetry.exposition import Exposition
from chatwright.telemetry.observer import RequestCounter
from chatwright.telemetry.shared_counts import SharedCounts

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"


def record(key: str = "key_1", **values: object) -> RequestRecord:
    made = RequestRecord("req", key, "proj", "m", "default")
    for name, value in values.items():
        setattr(made, name, value)
    return made


def played(counter: RequestCounter, chunks: list[int], status: str = "finished") -> None:
    """A request whose tokens come in these chunks."""
    request = record(queue_seconds=0.25, grammar_seconds=0.125, began=0.0)
    for count in chunks:
        counter.tokens(request, count)
        request.last_token = (request.last_token or 0.5) + 1.0
        request.first_token = request.first_token or request.last_token
    request.status, request.finish_reason = status, "length" if status == "finished" else None
    request.usage = Usage(10, sum(chunks), 4, accepted_prediction_tokens=2, rejected_prediction_tokens=1)
    counter.ended(request)


def samples(counts: Counts, **stats: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, content_type = Exposition(counts, {"m": EngineStats(**stats)}, {"m": True}).encode("")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_each_replica_says_whether_it_serves() -> None:
    body, _ = Exposition(Counts(), {}, {}, {"m": {"replica-0": True, "replica-1": False}}).encode("")
    assert 'chatwright:replica_ready{model_name="m",replica="replica-0"} 1.0' in body.decode()
    assert 'chatwright:replica_ready{model_name="m",replica="replica-1"} 0.0' in body.decode()


MODEL = (("model_name", "m"),)


def test_constrained_requests_tell_how_long_their_grammar_took() -> None:
    counter = RequestCounter()
    played(counter, [1, 2])
    free = record(began=0.0)
    counter.tokens(free, 1)
    found = samples(counter.counts)
    assert found["chatwright:grammar_compile_seconds_count", MODEL] == 1
    assert found["chatwright:grammar_compile_seconds_sum", MODEL] == 0.125


@pytest.mark.parametrize("prefix", ["vllm", "chatwright"])
def test_a_request_is_seen_under_the_names_of_dashboards(prefix: str) -> None:
    counter = RequestCounter()
    played(counter, [1, 2, 3])
    found = samples(counter.counts, running=3, waiting=2, kv_blocks_used=1, kv_blocks_total=4, preemptions=5)

    def value(name: str, labels: tuple[tuple[str, str], ...] = MODEL) -> float:
        return found[f"{prefix}:{name}", labels]

    assert value("prompt_tokens_total") == value("prefix_cache_queries_total") == 10
    assert value("prefix_cache_hits_total") == 4
    assert value("generation_tokens_total") == 6
    assert value("time_to_first_token_seconds_count") == 1
    assert value("inter_token_latency_seconds_count") == value("time_per_output_token_seconds_count") == 5
    assert value("request_queue_time_seconds_sum") == 0.25
    assert value("e2e_request_latency_seconds_count") == 1
    assert value("request_decode_time_seconds_sum") == 2
    assert value("request_time_per_output_token_seconds_sum") == pytest.approx(0.4)
    assert value("request_inference_time_seconds_sum") == pytest.approx(3.25)
    assert value("request_generation_tokens_sum") == value("request_max_num_generation_tokens_sum") == 6
    assert value("spec_decode_num_accepted_tokens_total") == 2
    assert value("spec_decode_num_draft_tokens_total") == 3
    assert value("num_requests_running") == 3
    assert value("num_requests_waiting") == 2
    assert value("kv_cache_usage_perc") == value("gpu_cache_usage_perc") == 0.25
    assert value("num_preemptions_total") == 5
    assert value("request_success_total", (("finished_reason", "length"), *MODEL)) == 1


def test_every_ending_has_its_reason() -> None:
    counter = RequestCounter()
    for status in ("finished", "aborted", "failed", "refused"):
        played(counter, [], status)
    assert counter.counts.models["m"].ended == {"length": 1, "abort": 1, "error": 1, "refused": 1}
    assert counter.counts.models["m"].decode.total == 0


def test_labels_of_keys_are_bounded() -> None:
    counter = RequestCounter()
    for number in range(MOST_KEYS + 50):
        counter.ended(record(f"key_{number}", status="finished"))
    assert len(counter.counts.keys) == MOST_KEYS + 1
    assert counter.counts.keys["other"].requests == 50


def test_buckets_are_cumulative_and_bounds_belong_below() -> None:
    histogram = Histogram.of((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    counts = Counts()
    counts.model("m").queue.observe(10_000.0, 3)
    found = samples(counts)
    name = "vllm:request_queue_time_seconds_bucket"
    assert found[name, (("le", "640.0"), *MODEL)] == 0
    assert found[name, (("le", "+Inf"), *MODEL)] == 3


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=8), min_size=1, max_size=4
    )
)
def test_processes_add_up_to_what_one_would_have_counted(parts: list[list[tuple[str, int]]]) -> None:
    whole, added = Counts(), Counts()
    for part in parts:
        own = Counts()
        for slug, number in part:
            for counts in (whole, own):
                model = counts.model(slug)
                model.queue.observe(number)
                model.prompt_tokens += number
                model.ended[str(number)] = model.ended.get(str(number), 0) + 1
                counts.key(slug).requests += 1
                counts.responses["200"] = counts.responses.get("200", 0) + 1
        added.add(own)
    assert added == whole


def test_files_of_processes_are_added_up_and_survive_them(tmp_path: Path) -> None:
    mine, other = RequestCounter(), RequestCounter()
    played(mine, [1])
    played(other, [2])
    SharedCounts(tmp_path, "gone").write(other.counts)
    shared = SharedCounts(tmp_path, "mine")
    shared.write(mine.counts)
    played(mine, [1])  # its own are read as they are, not as they were written
    assert shared.sum(mine.counts).models["m"].output_tokens == 4
    assert mine.counts.models["m"].output_tokens == 2


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grafana", GRAFANA / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_dashboard_is_up_to_date_and_asks_for_metrics_that_exist() -> None:
    written = (GRAFANA / "chatwright.json").read_text()
    assert written == _generator().text()
    counter = RequestCounter()
    played(counter, [1, 1])
    counter.counts.responses["200"] = 1
    exist = {name for name, _ in samples(counter.counts)}
    panels = json.loads(written)["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"chatwright:\w+", target["expr"])
    }
    assert len(asked) > 12
    assert asked <= exist, asked - exist
