"""Whole answers of other servers, replayed: vLLM's as they were recorded, the others' as their schemas have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatwright.core.errors import EngineFailed, UnsupportedParameter
from chatwright.core.generation import Handoff
from chatwright.engines.remote.contexts import Contexts
from chatwright.engines.sglang import Sglang
from chatwright.engines.trtllm import Trtllm
from chatwright.engines.vllm import Vllm

DATA = Path(__file__).parents[2] / "data/wire"
VLLM, SGLANG, TRTLLM = DATA / "vllm-0.32.0", DATA / "sglang-0.5", DATA / "trtllm-1.2"


@pytest.fixture
def vllm(stub, says, say):
    """A stub that greets like vLLM with everything it can have, then answers with a recording."""

    def answer(
        recording: str = "", refused: tuple[str, ...] = ("structured_outputs", "extra_args"), end: int = 2
    ):
        def reply(body):
            if body["token_ids"] == [0]:
                params = body["sampling_params"]
                if "grammar" in (params.get("structured_outputs") or {}):
                    choice = {"token_ids": [66, end], "finish_reason": "stop", "stop_reason": end}
                    return says({"choices": [choice]})
                if refused and any(params.get(name) for name in refused):
                    return says({"error": {"message": "no"}}, 400)
                return says(
                    {"choices": [], "kv_transfer_params": {"id": 1} if "kv_transfer_params" in body else None}
                )
            return say([(VLLM / recording).read_bytes()])

        stub.replies |= {
            "/v1/models": say([(VLLM / "models.json").read_bytes()]),
            "/version": says({"version": "0.32.0"}),
            "/metrics": say([(VLLM / "metrics.txt").read_bytes()], kind="text/plain"),
            "/inference/v1/generate": reply,
        }
        return Vllm()

    return answer


async def test_vllm_logprobs(vllm, running, new_request, collected):
    async with running(vllm("logprobs.sse"), context_length=8192) as engine:
        chunks = await collected(engine, new_request(max_tokens=3, logprobs=2))
        assert [chunk.token_ids for chunk in chunks] == [(7042,), (30,), (198,)]
        assert chunks[-1].finish == "length"
        entry = chunks[0].logprobs[0]
        assert (entry.token_id, round(entry.logprob, 3)) == (7042, -0.261)
        assert [token for token, _ in entry.top] == [7042, 260]
        assert engine.info.name == "vllm"
        assert engine.info.unsupported == ("disaggregated_params",)  # switched off on our side
        stats = await engine.stats()
        assert (stats.kv_blocks_total, stats.kv_blocks_used, stats.waiting) == (364, 1, 0)


async def test_vllm_unlikely_token_takes_no_place_among_the_likely(vllm, running, new_request, collected):
    async with running(vllm("stop.sse"), context_length=8192) as engine:
        (chunk,) = await collected(engine, new_request(stop_token_ids=(100,), logprobs=2))
    assert (chunk.token_ids, chunk.finish, chunk.stop_token) == ((100,), "stop", 100)
    assert [token for token, _ in chunk.logprobs[0].top] == [7042, 260]


async def test_vllm_started_bare_lacks_what_it_lacks(vllm, running, new_request, collected):
    async with running(vllm(refused=()), contexts=Contexts(), context_length=8192) as engine:
        assert set(engine.info.unsupported) == {
            "top_p_min",
            "bad",
            "response_format",
            "tools",
            "reasoning_effort",
        }
        with pytest.raises(UnsupportedParameter) as refusal:
            await collected(engine, new_request(bad_sequences=((5, 6),)))
        assert refusal.value.param == "bad"


async def test_vllm_with_another_end_of_sequence_may_not_constrain(vllm, running):
    async with running(vllm(end=0), context_length=8192) as engine:
        assert {"response_format", "tools"} <= set(engine.info.unsupported)


@pytest.mark.parametrize(
    ("status", "why"), [(403, "--enable-scale-out"), (404, "--enable-scale-out"), (500, "500")]
)
async def test_vllm_without_the_route_says_how_to_start_it(vllm, stub, says, running, status, why):
    dialect = vllm()
    stub.replies["/inference/v1/generate"] = says({"error": {"message": "x"}}, status)
    with pytest.raises(EngineFailed, match=why):
        async with running(dialect, context_length=8192):
            pass


async def test_vllm_with_another_model_is_refused(vllm, running):
    with pytest.raises(EngineFailed, match="it serves m"):
        async with running(vllm(), model="other", context_length=8192):
            pass


@pytest.fixture
def sglang(stub, says, say):
    def answer(recording: str = "", raw: bool = True, at: str = "/server_info", **told):
        info = json.loads((SGLANG / "server_info.json").read_bytes()) | told

        def reply(body):
            if body["input_ids"] == [0]:
                logprob = -1.0 if raw else -body["sampling_params"]["temperature"]
                return says({"meta_info": {"output_token_logprobs": [[logprob, 5, None]]}})
            return say([(SGLANG / recording).read_bytes()])

        stub.replies |= {
            at: says(info),
            "/metrics": say([(SGLANG / "metrics.txt").read_bytes()], kind="text/plain"),
            "/generate": reply,
        }
        return Sglang()

    return answer


@pytest.mark.parametrize("recording", ["cumulative.sse", "incremental.sse"])
async def test_sglang_streams_of_both_kinds(sglang, running, new_request, collected, recording):
    async with running(sglang(recording)) as engine:
        chunks = await collected(engine, new_request(logprobs=1))
        assert [chunk.token_ids for chunk in chunks] == [(7042,), (30,), (2,)]
        assert [chunk.cached_tokens for chunk in chunks] == [4, 0, 0]
        assert (chunks[-1].finish, chunks[-1].stop_token_is_eos) == ("stop", True)
        assert [chunk.logprobs[0].token_id for chunk in chunks] == [7042, 30, 2]
        assert chunks[1].logprobs[0].top == ((11, -0.5),)  # not the sampled one, which was unlikely
        stats = await engine.stats()
        assert (stats.running, stats.waiting, stats.kv_blocks_used, stats.kv_blocks_total) == (
            3,
            2,
            640,
            4096,
        )


async def test_sglang_of_older_versions_is_asked_by_the_older_name(sglang, running):
    async with running(sglang(at="/get_server_info")) as engine:
        assert engine.info.name == "sglang"


async def test_sglang_stop_token_that_was_cut_off_is_counted(sglang, running, new_request, collected):
    async with running(sglang("trimmed.sse")) as engine:
        chunks = await collected(engine, new_request())
    assert [token for chunk in chunks for token in chunk.token_ids] == [7042, 30, 2]


@pytest.mark.parametrize("recording", ["abort.sse", "error.sse"])
async def test_sglang_abort_is_a_failure(sglang, running, new_request, collected, recording):
    async with running(sglang(recording)) as engine:
        with pytest.raises(EngineFailed):
            await collected(engine, new_request())


async def test_sglang_says_what_it_was_started_with(sglang, running):
    told = {"grammar_backend": "xgrammar", "enable_deterministic_inference": False}
    always = {"top_p_min", "repetition_penalty", "bad", "reasoning_effort", "disaggregated_params"}
    async with running(sglang(raw=False, **told)) as engine:
        lacking = set(engine.info.unsupported)
    assert lacking == always | {"seed", "logprobs", "top_logprobs", "response_format", "tools"}
    async with running(sglang()) as engine:
        assert set(engine.info.unsupported) == always
        assert engine.info.supports_logprobs


@pytest.fixture
def trtllm(stub, says, say):
    def answer(*recordings: str, lark: int = 200):
        rest = list(recordings)

        def reply(body):
            if body["prompt"] == [0]:
                return says({}, lark)
            return say([(TRTLLM / rest.pop(0)).read_bytes()])

        stub.replies |= {
            "/v1/models": say([(TRTLLM / "models.json").read_bytes()]),
            "/version": says({"version": "1.2.0"}),
            "/v1/completions": reply,
        }
        return Trtllm()

    return answer


@pytest.mark.parametrize("recording", ["stop.sse", "trimmed.sse"])
async def test_trtllm_answer(trtllm, running, new_request, collected, recording):
    async with running(trtllm(recording)) as engine:
        chunks = await collected(engine, new_request())
        assert [token for chunk in chunks for token in chunk.token_ids] == [7042, 30, 2]
        assert (chunks[-1].finish, chunks[-1].stop_token_is_eos, chunks[-1].cached_tokens) == (
            "stop",
            True,
            4,
        )
        assert not engine.info.supports_logprobs
        assert "response_format" not in engine.info.unsupported
    async with running(trtllm(lark=400)) as engine:
        assert "response_format" in engine.info.unsupported


async def test_trtllm_length(trtllm, running, new_request, collected):
    async with running(trtllm("length.sse")) as engine:
        chunks = await collected(engine, new_request(max_tokens=3))
    assert chunks[-1].finish == "length"


async def test_trtllm_halves(stub, trtllm, running, new_request, collected):
    async with running(trtllm("context.json", "generation.sse"), contexts=Contexts()) as engine:
        (first,) = await collected(engine, new_request(handoff=Handoff("context", 9), max_tokens=1))
        assert (first.token_ids, first.finish) == ((7042,), "length")
        chunks = await collected(engine, new_request(handoff=Handoff("continuation", 9, (7042,))))
        assert [token for chunk in chunks for token in chunk.token_ids] == [30, 2]
    sent = [body for body in stub.bodies("/v1/completions") if body["prompt"] != [0]]
    assert sent[0]["disaggregated_params"] == {"request_type": "context_only"}
    assert not sent[0]["stream"]
    told = sent[1]["disaggregated_params"]
    assert (told["request_type"], told["ctx_request_id"], told["encoded_opaque_state"]) == (
        "generation_only",
        77,
        "AAEC",
    )


async def test_trtllm_refusal_names_the_field(stub, trtllm, says, running, new_request, collected):
    async with running(trtllm()) as engine:
        stub.replies["/v1/completions"] = says(json.loads((TRTLLM / "error.json").read_bytes()), 400)
        with pytest.raises(UnsupportedParameter) as refusal:
            await collected(engine, new_request())
    assert refusal.value.param == "logit_bias"
