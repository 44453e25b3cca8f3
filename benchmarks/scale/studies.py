"""The questions that are put to the simulator. Every study is seeded; each gives rows for the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.scale.profile import Profile, measured, predicted_tokens_per_s, published
from benchmarks.scale.routers import BoundedOwner, Cells, LeastLoaded, Packaged, Random, Router, TwoChoices
from benchmarks.scale.scaling import Autoscaler, Forecaster
from benchmarks.scale.simulation import Outcome, Views, simulate
from benchmarks.scale.workload import Lengths, Workload, bursty, constant, diurnal

SEED = 20_261_123
LENGTHS = Lengths()
GPU_LENGTHS = Lengths(shared=1024, fresh=512, output=256)
WARM = 400
"""Earlier requests for each replica whose prefixes are cached when a study begins; about twice what a cache holds."""
Row = dict[str, Any]


def full_rate(profile: Profile, lengths: Lengths = LENGTHS) -> float:
    """Requests a second of one replica that finds nothing cached and never rests: load 1."""
    prompt = lengths.shared + lengths.fresh
    return profile.capacity(prompt, lengths.output, prompt + lengths.output)


def _row(outcome: Outcome, warm_up: float, **more: Any) -> Row:
    return {**more, **outcome.summary(warm_up)}


def _steady(profile: Profile, lengths: Lengths, replicas: int, load: float, seconds: float) -> Workload:
    rate = load * replicas * full_rate(profile, lengths)
    return Workload(constant(rate), rate, seconds, lengths=lengths)


def calibration() -> Row:
    """The model against the measurement it was not fitted to: throughput of 32 streams."""
    profile = measured()
    return {
        "profiles": [
            {
                "name": p.name,
                "origin": p.origin,
                "fixed_ms": p.fixed * 1e3,
                "row_ms": p.row * 1e3,
                "token_ms": p.token * 1e3,
                "rate": full_rate(p, lengths),
            }
            for p, lengths in ((profile, LENGTHS), (published(), GPU_LENGTHS))
        ],
        "predicted_tokens_per_s": predicted_tokens_per_s(profile, 32, 130, 128),
    }


def loads() -> list[Row]:
    """Tails and cost against load: 400 replicas of ours, 100 of the GPU profile."""
    rows = []
    for profile, lengths, replicas, seconds in (
        (measured(), LENGTHS, 400, 16.0),
        (published(), GPU_LENGTHS, 40, 40.0),
    ):
        for load in (0.5, 0.7, 0.9, 1.0, 1.2):
            workload = _steady(profile, lengths, replicas, load, seconds)
            outcome = simulate(profile, workload, BoundedOwner(replicas), replicas, seed=SEED, warm=WARM)
            rows.append(_row(outcome, seconds / 2, profile=profile.name, load=load))
    return rows


def large() -> Row:
    """Thousands of replicas at once."""
    profile, replicas = measured(), 4096
    workload = _steady(profile, LENGTHS, replicas, 0.7, 8.0)
    outcome = simulate(profile, workload, BoundedOwner(replicas), replicas, seed=SEED, warm=WARM)
    keys = len({request.key for request in outcome.requests})
    return _row(outcome, 4.0, load=0.7, keys_seen=keys)


def routing() -> list[Row]:
    """Routers with true loads, and sixteen routers whose knowledge of each other is up to two seconds old."""
    profile, replicas, rows = measured(), 256, []
    makers: dict[str, Callable[[], Router]] = {
        "random": lambda: Random(SEED),
        "least loaded": LeastLoaded,
        "two choices": lambda: TwoChoices(SEED),
        "owner within bounds": lambda: BoundedOwner(replicas),
    }
    warming = dict.fromkeys(makers, Random(SEED)) | {"owner within bounds": BoundedOwner(replicas)}
    for period in (0.0, 2.0):
        for name, make in makers.items():
            workload = _steady(profile, LENGTHS, replicas, 0.75, 16.0)
            views = Views(period, 16)
            outcome = simulate(
                profile,
                workload,
                make(),
                replicas,
                seed=SEED,
                views=views,
                warm=WARM,
                warmed_by=warming[name],
            )
            rows.append(_row(outcome, 6.0, router=name, period=period))
    return rows


def packaged() -> list[Row]:
    """One cell of 64 under the package's own router, and under the simulator's fast form of it."""
    profile, replicas, rows = measured(), 64, []
    routers: dict[str, Router] = {"the package's router": Packaged(), "its fast form": BoundedOwner(replicas)}
    for name, router in routers.items():
        workload = _steady(profile, LENGTHS, replicas, 0.75, 20.0)
        outcome = simulate(profile, workload, router, replicas, seed=SEED, warm=WARM)
        rows.append(_row(outcome, 6.0, router=name))
    return rows


def cells() -> list[Row]:
    """One fleet of 512 cut into cells, with and without spreading the hundred hottest keys."""
    profile, replicas, rows = measured(), 512, []
    for size, spread in ((512, 1), (64, 1), (64, 4), (16, 1), (16, 4)):
        number = replicas // size
        inner = [BoundedOwner(size) for _ in range(number)]
        router = Cells(inner, size, spread=min(spread, number), hot=100 if spread > 1 else 0)
        workload = _steady(profile, LENGTHS, replicas, 0.75, 10.0)
        outcome = simulate(profile, workload, router, replicas, seed=SEED, warm=WARM)
        rows.append(_row(outcome, 4.0, size=size, spread=spread))
    return rows


def burst() -> list[Row]:
    """Load 0.6 that trebles for ten seconds: nothing to spare, a reserve, and a short waiting room."""
    rows = []
    rate = 0.6 * 128 * full_rate(measured())
    for replicas, slots, waiting in ((128, 64, 256), (160, 64, 256), (128, 24, 8)):
        profile = dataclasses.replace(measured(), slots=slots, waiting=waiting)
        workload = Workload(bursty(rate, 10, 10, 3.0), 3 * rate, 40.0)
        outcome = simulate(profile, workload, BoundedOwner(replicas), replicas, seed=SEED, warm=WARM)
        rows.append(_row(outcome, 0.0, slots=slots, waiting=waiting))
    return rows


def day() -> list[Row]:
    """A wave with a swing of 60 % in ten minutes, 144 times as steep as a day: as many replicas as its peak needs, or scaled."""
    profile, mean = measured(), 24 * full_rate(measured())
    seconds, rows = 600.0, []
    for name, scaler, replicas in (
        ("fixed, load 0.8 at the peak", None, 48),
        ("scaled, new ones after 4 s", Autoscaler(16, 96, target=8, delay=4), 96),
        ("scaled, new ones after 120 s", Autoscaler(16, 96, target=8, delay=120), 96),
        ("scaled with reserve, after 120 s", Autoscaler(24, 96, target=5, delay=120), 96),
        (
            "scaled by forecast, after 120 s",
            Forecaster(16, 96, target=0.75 * full_rate(profile), delay=120),
            96,
        ),
    ):
        workload = Workload(diurnal(mean, seconds), 1.6 * mean, seconds)
        outcome = simulate(
            profile, workload, BoundedOwner(replicas), replicas, seed=SEED, scaler=scaler, warm=WARM
        )
        rows.append(_row(outcome, 0.0, fleet=name))
    return rows


STUDIES: dict[str, Callable[[], Any]] = {
    "calibration": calibration,
    "loads": loads,
    "large": large,
    "routing": routing,
    "packaged": packaged,
    "cells": cells,
    "burst": burst,
    "day": day,
}
