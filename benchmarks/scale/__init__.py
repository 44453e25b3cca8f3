"""Fleets that can't be measured here, simulated from replicas that were: `make simulate`, which writes docs/scaling.md.

Owns: discrete events, a replica whose step times are calibrated by results/*.json, routers, load, and the bill of the state
that a fleet shares. May not touch: the package beyond what it measures in `shared.py` and the bounds of its router.
To add a study: a function in `studies.py` and its table in `report.py`.
"""
