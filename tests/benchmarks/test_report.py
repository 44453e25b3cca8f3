"""Goals and tables from stored results."""

from __future__ import annotations

import pytest
from benchmarks.bench import LLAMACPP, OURS, PLAIN
from benchmarks.scenarios import overload
from benchmarks.scenarios.engines import floor_decode, floor_prefill
from benchmarks.scenarios.overload import Outcome
from benchmarks.soak import growth
from benchmarks.tables import number, ratio, table

from benchmarks import goals, report

FLOORS = {"weight_gb": 0.1, "read_gb_per_s": 10.0, "int8_gops": 100.0, "decode_gop": 0.5, "prompt_gop": 0.25}


def test_goals_not_measured_are_listed_as_such():
    assert {row[3] for row in goals.rows({})} == {"-"}
    assert len(goals.rows({})) == len(goals.GOALS)


@pytest.mark.parametrize(("ours", "met"), [(500.0, "yes"), (499.0, "no")])
def test_goals_met_from_the_aim_on(ours, met):
    speeds = {OURS: 1.0, PLAIN: ours, LLAMACPP: 100.0}
    rows = {peer: {"tokens_per_s": speed} for peer, speed in speeds.items()}
    found = goals.rows({"throughput": {"many": rows, "one": rows, "http_share": 0.2}})
    by_name = {row[0]: row for row in found}
    assert by_name["32 streams over HTTP, times llama.cpp's server"][3] == met
    assert by_name["HTTP and SSE at 32 streams"][2:] == ("20.0 %", "no")


def test_overload_counts_what_is_in_time_and_what_was_refused():
    outcomes = [Outcome(0.0, 200, 0.1, 1.0), Outcome(1.0, 200, 0.5, 3.0), Outcome(2.0, 503, 0.01, 0.01)]
    row = overload.figures([*outcomes, Outcome(2.0, 0, 0.0, 0.0)], offered=2.0, slo=2.0)
    assert (row["sent"], row["refused"], row["failed"], row["in_time"]) == (4, 1, 1, 0.5)
    assert (row["answered_per_s"], row["goodput_per_s"]) == (0.5, 0.25)
    assert (row["refusal_p99_ms"], row["answer_p50_ms"]) == (pytest.approx(10), 2000)
    best = row | {"goodput_per_s": 0.5}
    assert overload.kept({"loads": {"1": best, "2": best, "5": row}}) == 0.5


def test_operators_page_has_overload_and_fairness_and_the_other_one_not():
    row = {"p50_ms": 1.0, "p95_ms": 2.0, "requests": 3, "burst_seconds": 4.0, "burst_ttft_p50_ms": 5.0}
    weights = {"each": 6, "heavy_share": 0.74, "expected": 0.75}
    data = {"prompt": 1, "new": 2, "running": 3, "burst": 4, "idle": row, "beside": row, "weights": weights}
    machine = dict.fromkeys(
        ("date", "cores", "processor", "memory_gib", "load_before", "commit", "python", "command"), "x"
    )
    results = {"fairness": {"data": data, "machine": machine | {"seconds": 1.0}, "versions": {}}}
    assert "74.0 % of the tokens, 75.0 %" in report.operations(results)
    assert "Fairness" not in report.text(results)
    assert "74.0 %" in report.text(results)  # among the goals


def test_floor_one_stream_waits_for_memory_and_many_for_products():
    assert floor_decode(FLOORS, 1) == pytest.approx(100.0)
    assert floor_decode(FLOORS, 64) == pytest.approx(200.0)
    assert floor_prefill(FLOORS) == pytest.approx(400.0)


def test_growth_ignores_what_is_taken_before_it_settles():
    points = [(float(s), 100.0 if s < 20 else 300.0) for s in range(100)]
    assert growth(points) == 0.0


def test_growth_sees_a_leak_that_never_ends():
    assert growth([(float(s), float(s)) for s in range(100)]) > 50


def test_table_and_numbers_read_well():
    assert table(("", "a"), [("x", number(1234.5))]) == "|  | a |\n|---|---:|\n| x | 1,234 |\n"
    assert number(None) == "-"
    assert number(0.01234) == "0.0123"
    assert ratio(1.0, None) is None


def test_document_has_the_marks_that_the_report_writes_between():
    for document in (report.DOCUMENT, report.OPERATIONS):
        text = document.read_text()
        assert 0 < text.index(report.BEGIN) < text.index(report.END)


def test_stored_results_still_make_a_report():
    assert report.text(report.load()).startswith("### Goals")
