"""service_tier: who may ask for what."""

from __future__ import annotations

import pytest


@pytest.mark.proves("service_tier")
@pytest.mark.parametrize("tier", ["auto", "default", "flex", None])
def test_tiers_that_every_key_has_are_served(api, tier):
    assert api.content(service_tier=tier) == api.content()


@pytest.mark.proves("service_tier")
@pytest.mark.parametrize(("asked", "served"), [("auto", "default"), ("flex", "flex"), (None, "default")])
def test_answers_and_chunks_say_which_tier_they_were_served_in(api, asked, served):
    assert api.ask(service_tier=asked)["service_tier"] == served
    stream = api.stream(service_tier=asked, stream_options={})
    assert {chunk["service_tier"] for chunk in stream.chunks} == {served}


@pytest.mark.proves("service_tier")
def test_a_tier_beyond_the_keys_policy_is_403(api):
    response = api.post(service_tier="priority")
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (403, "permission_error", "service_tier")
    assert "flex, default" in error["message"]


@pytest.mark.parametrize("tier", ["scale", "turbo", ""])
def test_a_tier_that_does_not_exist_is_400(api, tier):
    assert api.refused(service_tier=tier)["param"] == "service_tier"
