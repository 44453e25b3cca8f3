"""What is read of a metrics page."""

from __future__ import annotations

from chatwright.engines.remote.metrics import read_samples

PAGE = """# HELP run requests
# TYPE run gauge
run{engine="0"} 2.0
run{engine="1"} 3.0
info{blocks="364",kind="a"} 1.0
plain 4e3
broken{ x
nan NaN?
"""


def test_values_are_summed_over_labels_and_numbers_in_labels_kept():
    samples = read_samples(PAGE)
    assert (samples["run"], samples["plain"], samples["info{blocks}"]) == (5.0, 4000.0, 364.0)
    assert "broken" not in samples
    assert "nan" not in samples


def test_anything_can_be_read():
    assert read_samples("\x00\n{}\n<html>") == {}
