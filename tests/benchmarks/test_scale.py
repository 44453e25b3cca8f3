"""The simulator against queueing theory, against what was measured, and against itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.scale import bill, report
from benchmarks.scale.profile import RESULTS, Profile, measured, predicted_tokens_per_s, published
from benchmarks.scale.routers import BoundedOwner, Cells, Random, TwoChoices
from benchmarks.scale.scaling import Autoscaler
from benchmarks.scale.simulation import Views, simulate
from benchmarks.scale.studies import STUDIES
from benchmarks.scale.workload import Lengths, Workload, bursty, constant, diurnal, zipf


class Exact(Lengths):
    """Every answer takes its mean."""

    def draw(self, rng, mean, count):
        return np.full(count, mean)


class Exponential(Lengths):
    """Answers take exponential times."""

    def draw(self, rng, mean, count):
        return rng.exponential(mean, count)


def queue(servers, lengths, rate, count):
    """One replica whose tokens take a second whatever runs beside them: a queue with `servers` servers. Mean wait."""
    profile = Profile("q", "", 1.0, 0.0, 0.0, 1, servers, 10**9, 10**9, 0, 0.0)
    workload = Workload(constant(rate), rate, count / rate, lengths=lengths)
    outcome = simulate(profile, workload, Random(0), 1, seed=3)
    waits = [request.started - request.arrived for request in outcome.requests]
    return sum(waits) / len(waits)


def erlang_c(servers, offered):
    """Probability of having to wait in M/M/c."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


def test_deterministic_service_waits_as_pollaczek_and_khinchine_say():
    load = 0.7
    waited = queue(1, Exact(0, 0, 1.0), load, 60_000)
    assert waited == pytest.approx(load / (2 * (1 - load)), rel=0.06)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (4, 0.8), (16, 0.9)])
def test_exponential_service_waits_as_erlang_says(servers, load):
    offered = servers * load
    waited = queue(servers, Exponential(0, 0, 1.0), offered, 60_000)
    assert waited == pytest.approx(erlang_c(servers, offered) / (servers - offered), rel=0.12)


PROFILE = Profile("p", "", 0.005, 0.0005, 0.0004, 64, 8, 8, 16_384, 4096, 1.0)


def small(rate=60.0, seconds=20.0, **options):
    return Workload(constant(rate), rate, seconds, keys=10_000, **options)


def facts(outcome):
    return [(r.arrived, r.key, r.started, r.first, r.finished, r.cached) for r in outcome.requests]


def test_a_seed_gives_the_same_again_and_another_seed_does_not():
    runs = [simulate(PROFILE, small(), BoundedOwner(16), 16, seed=seed) for seed in (1, 1, 2)]
    assert facts(runs[0]) == facts(runs[1])
    assert runs[0].gaps == runs[1].gaps
    assert facts(runs[0]) != facts(runs[2])


@pytest.mark.parametrize(
    "router",
    [
        Random(1),
        TwoChoices(1),
        BoundedOwner(16),
        Cells([BoundedOwner(4) for _ in range(4)], 4, spread=2, hot=9),
    ],
)
@pytest.mark.parametrize("views", [None, Views(1.0, 4)])
def test_every_request_ends_once_and_in_order_or_was_turned_away(router, views):
    workload = Workload(bursty(60, 5, 5, 8), 480, 20, keys=10_000)
    came = sum(1 for _ in workload.requests(np.random.default_rng(7)))
    outcome = simulate(PROFILE, workload, router, 16, seed=7, views=views)
    assert len(outcome.requests) + outcome.shed == came
    assert outcome.shed > 0
    for request in outcome.requests:
        assert request.arrived <= request.started <= request.first <= request.finished
        assert 0 <= request.cached <= request.shared
    made = sum(r.output - 1 for r in outcome.requests)
    assert sum(outcome.gaps.values()) == pytest.approx(made, rel=1e-6)


def test_an_idle_replica_takes_the_time_of_its_steps():
    workload = Workload(constant(0.2), 0.2, 60, keys=10**9, lengths=Exact(0, 100, 50))
    outcome = simulate(PROFILE, workload, Random(0), 1, seed=1)
    request = outcome.requests[0]
    assert request.first - request.arrived == pytest.approx(100 / 64 * PROFILE.step(0, 64))
    assert request.finished - request.first == pytest.approx(49 * PROFILE.step(1, 0))


def test_owners_keep_prefixes_and_random_choice_loses_them():
    owned, lost = (
        simulate(PROFILE, small(), router, 16, seed=5).summary()["cached_share"]
        for router in (BoundedOwner(16), Random(5))
    )
    assert owned > lost


def test_autoscaler_pays_less_than_the_peak_and_serves_all():
    workload = Workload(diurnal(60, 120), 120, 120, keys=10_000)
    scaler = Autoscaler(8, 32, target=3, delay=2, patience=10)
    patient = replace(PROFILE, waiting=256)
    outcome = simulate(patient, workload, TwoChoices(2), 32, seed=2, scaler=scaler)
    assert outcome.shed == 0
    assert 8 < outcome.most_replicas <= 32
    assert outcome.replica_seconds < 0.9 * outcome.most_replicas * outcome.seconds


def test_zipf_gives_ranks_their_weight():
    ranks = zipf(np.random.default_rng(1), 1000, 1.0, 200_000)
    counts = np.bincount(ranks, minlength=1000)
    assert ranks.max() < 1000
    assert counts[0] / counts[9] == pytest.approx(math.log(2) / math.log(11 / 10), rel=0.1)


def test_calibrated_model_says_what_was_measured():
    profile = measured()
    assert 0 < profile.row < profile.fixed < profile.chunk * profile.token
    assert predicted_tokens_per_s(profile, 32, 130, 128) == pytest.approx(832, rel=0.15)


def test_assumed_figures_say_that_they_are():
    assert "not measured" in published().origin
    assert published().capacity(128, 128, 450) > 4 * measured().capacity(128, 128, 450)


def test_parts_of_the_bill_add_up():
    shared = bill.load()
    found = bill.parts(shared)
    assert [part.replicas for part in found] == sorted(part.replicas for part in found)
    for part in found:
        assert part.used(round(part.replicas)) == pytest.approx(1, rel=0.05)
    limit = bill.router_limit(shared)
    assert bill.router_busy(shared, limit) == pytest.approx(1, rel=0.02)
    assert bill.router_busy(shared, 2 * limit) > 2


def test_report_has_every_study_that_is_stored():
    studies = json.loads((RESULTS / "scale.json").read_text())["data"]
    assert studies.keys() == report.SECTIONS.keys() == STUDIES.keys()
    written = report.text(studies, bill.load())
    assert written in report.DOCUMENT.read_text()
