"""Grammars in the loop: every answer obeys, forced tokens run ahead without changing it, and no fault spreads."""

from __future__ import annotations

import json
import queue

import jsonschema
import msgspec
import pytest

from chatwright.core.errors import InternalError, InvalidGrammar, UnsupportedParameter
from chatwright.core.generation import GenerationRequest, Grammar, ThinkingBudget
from chatwright.core.sampling import SamplingParams
from chatwright.engines.batching.constraint import Constraint, Constraints
from chatwright.engines.batching.loop import EngineLoop, LoopLimits
from chatwright.engines.batching.scheduler import Scheduler, SchedulerLimits
from chatwright.engines.batching.simulated import SimulatedRunner
from chatwright.grammar.build import build
from chatwright.grammar.markup import Calls, Channels, Job, Markup, Thinking, ToolSpec
from chatwright.grammar.matcher import Matcher, Vocabulary

EOS = 2
VOCABULARY = 49152
SCHEMA = {
    "type": "object",
    "properties": {
        "status": {"enum": ["shipped", "pending"]},
        "quantity": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 2},
    },
    "required": ["status", "quantity", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def vocabulary(default_model):
    return Vocabulary(default_model.tokenizer.read_text(), VOCABULARY, [EOS])


@pytest.fixture(scope="module")
def source(vocabulary):
    return build(Job("json_schema", json.dumps(SCHEMA)), vocabulary.special, [EOS]).source


class Collected:
    """A sink that keeps what came."""

    def __init__(self):
        self.chunks, self.errors, self.ended = {}, {}, queue.SimpleQueue()

    def outputs(self, items):
        for request_id, chunk in items:
            self.chunks.setdefault(request_id, []).append(chunk)
            if chunk.finish is not None:
                self.ended.put(request_id)

    def failure(self, request_id, error):
        self.errors[request_id] = error
        self.ended.put(request_id)

    def died(self, error):
        raise error

    def tokens(self, request_id):
        return [token for chunk in self.chunks.get(request_id, []) for token in chunk.token_ids]


def params(**members):
    defaults = {"max_tokens": 80, "seed": 7, "eos_token_ids": (EOS,), "temperature": 1.5}
    return SamplingParams(**defaults | members)


def request(name, source, **members):
    return GenerationRequest(
        id=name,
        prompt_token_ids=(5, 6, 7, *range(10, 10 + len(name))),
        sampling=params(**members),
        reservation=100,
        grammar=None if source is None else Grammar("llguidance", source),
    )


def run(vocabulary, requests, *, blocks=64, sequences=8, **shapes):
    """Serve all requests with a loop of their own until each has ended."""
    sink = Collected()
    runner = SimulatedRunner(
        vocab_size=VOCABULARY, context_length=256, block_size=8, block_count=blocks, **shapes
    )
    limits = LoopLimits(scheduler=SchedulerLimits(max_sequences=sequences))
    constraints = Constraints(lambda: vocabulary)
    loop = EngineLoop(runner, limits, sink, constraints=constraints)
    loop.start()
    for one in requests:
        loop.submit(one)
    for _ in requests:
        sink.ended.get(timeout=60)
    loop.stop()
    return sink


def valid(vocabulary, sink, name):
    text = vocabulary.tokenizer.decode_str(sink.tokens(name))
    jsonschema.validate(json.loads(text), SCHEMA)
    last = sink.chunks[name][-1]
    assert (last.finish, last.stop_token) == ("stop", None)
    return text


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "inexact"])
def test_answers_obey_their_grammar_and_end_with_it(vocabulary, source, exact):
    requests = [request(f"r{seed}", source, seed=seed) for seed in range(6)]
    requests.append(request("greedy", source, temperature=0.0))
    requests.append(request("free", None, max_tokens=12))
    sink = run(vocabulary, requests, exact_recompute=exact)
    assert sink.errors == {}
    texts = {valid(vocabulary, sink, one.id) for one in requests[:-1]}
    assert len(texts) > 1
    assert len(sink.tokens("free")) == 12


def test_forced_tokens_come_many_a_step_and_are_no_predictions(vocabulary, source):
    sink = run(vocabulary, [request("r", source)])
    chunks = sink.chunks["r"]
    assert max(len(chunk.token_ids) for chunk in chunks) >= 4
    assert sum(len(chunk.token_ids) for chunk in chunks) > len(chunks) * 1.5
    assert not any(chunk.accepted_draft_tokens or chunk.rejected_draft_tokens for chunk in chunks)


def test_how_far_forced_tokens_run_ahead_never_changes_an_answer(vocabulary, source, monkeypatch):
    requests = [request(f"r{seed}", source, seed=seed, logprobs=2) for seed in range(3)]
    ahead = run(vocabulary, requests)
    monkeypatch.setattr(Scheduler, "_draft", lambda self, sequence, end, most: [])
    alone = run(vocabulary, requests)
    for one in requests:
        assert ahead.tokens(one.id) == alone.tokens(one.id)
        reports = [
            [entry for chunk in sink.chunks[one.id] for entry in chunk.logprobs] for sink in (ahead, alone)
        ]
        assert reports[0] == reports[1]
        assert len(reports[0]) == len(ahead.tokens(one.id))
    assert max(len(chunk.token_ids) for chunk in alone.chunks["r0"]) == 1


def test_preemption_keeps_the_place_in_the_grammar(vocabulary, source):
    requests = [request(f"r{seed}", source, seed=seed) for seed in range(4)]
    roomy = run(vocabulary, requests)
    tight = run(vocabulary, requests, blocks=14)
    for one in requests:
        assert tight.tokens(one.id) == roomy.tokens(one.id)


def test_an_answer_cut_short_says_length(vocabulary, source):
    sink = run(vocabulary, [request("r", source, max_tokens=7)])
    assert len(sink.tokens("r")) == 7
    assert sink.chunks["r"][-1].finish == "length"


def test_the_last_allowed_token_may_complete_the_grammar(vocabulary):
    sink = run(vocabulary, [request("r", 'start: "a"', max_tokens=1)])
    assert sink.chunks["r"][-1].finish == "stop"


def test_a_grammar_that_may_end_ends_with_eos(vocabulary):
    sink = run(vocabulary, [request("r", "start: /a{0,400}/", logit_bias=((EOS, 50.0),))])
    last = sink.chunks["r"][-1]
    assert (last.finish, last.stop_token, last.stop_token_is_eos) == ("stop", EOS, True)


def test_ignore_eos_goes_on_as_long_as_the_grammar_does(vocabulary):
    sink = run(vocabulary, [request("r", "start: /a{0,9}/", logit_bias=((EOS, 50.0),), ignore_eos=True)])
    assert vocabulary.tokenizer.decode_str(sink.tokens("r")) == "a" * 9
    assert sink.chunks["r"][-1].finish == "stop"


def test_a_complete_grammar_wins_over_min_tokens(vocabulary):
    sink = run(vocabulary, [request("r", 'start: "a"', min_tokens=20)])
    assert vocabulary.tokenizer.decode_str(sink.tokens("r")) == "a"


def test_bans_never_break_the_grammar(vocabulary):
    banned = tuple((token,) for token in range(VOCABULARY) if "a" in vocabulary.tokenizer.decode_str([token]))
    sink = run(vocabulary, [request("r", "start: /[ab]{4}/", bad_sequences=banned)])
    assert vocabulary.tokenizer.decode_str(sink.tokens("r")) == "bbbb"
    sink = run(vocabulary, [request("r", "start: /[a]{4}[b]/", bad_sequences=banned)])
    assert vocabulary.tokenizer.decode_str(sink.tokens("r")) == "aaaab"


@pytest.mark.parametrize("fault", [ValueError("a bug"), KeyboardInterrupt()], ids=["exception", "panic"])
@pytest.mark.parametrize("where", ["mask", "accept", "forced"])
def test_a_fault_of_the_library_ends_one_request(vocabulary, source, monkeypatch, where, fault):
    original = getattr(Matcher, where)
    marked = []

    def faulty(self, *args):
        if self.vocabulary is not vocabulary and marked:
            raise fault
        return original(self, *args)

    other = Vocabulary.__new__(Vocabulary)
    other.__dict__.update(vocabulary.__dict__)
    monkeypatch.setattr(Matcher, where, faulty)
    make = Constraints._constraint

    def constraint(self, one):
        made = make(self, one)
        if one.id == "bad" and isinstance(made, Constraint):
            made._matcher.vocabulary = other
            marked.append(True)
        return made

    monkeypatch.setattr(Constraints, "_constraint", constraint)
    sink = run(
        vocabulary, [request("good", source), request("bad", source), request("free", None, max_tokens=5)]
    )
    valid(vocabulary, sink, "good")
    assert isinstance(sink.errors["bad"], InternalError)
    assert len(sink.tokens("free")) == 5


def test_a_grammar_that_does_not_compile_fails_its_request(vocabulary, source):
    sink = run(vocabulary, [request("bad", "start: missing"), request("good", source)])
    assert isinstance(sink.errors["bad"], InvalidGrammar)
    valid(vocabulary, sink, "good")


def test_a_tokenizer_that_cannot_be_read_fails_requests_not_the_loop():
    def load():
        raise OSError("no such file")

    sink = Collected()
    loop = EngineLoop(SimulatedRunner(), LoopLimits(), sink, constraints=Constraints(load))
    loop.start()
    loop.submit(GenerationRequest("r", (1, 2), params(), 90, grammar=Grammar("llguidance", 'start: "a"')))
    sink.ended.get(timeout=30)
    assert isinstance(sink.errors["r"], InternalError)
    loop.submit(GenerationRequest("free", (1, 2), params(max_tokens=2), 90))
    while sink.ended.get(timeout=30) != "free":
        pass
    loop.stop()
    assert loop.stats().waiting == 0


def test_an_abort_while_the_grammar_compiles_leaves_nothing(vocabulary, source):
    import threading

    gate = threading.Event()

    def load():
        gate.wait(30)
        return vocabulary

    sink = Collected()
    loop = EngineLoop(
        SimulatedRunner(vocab_size=VOCABULARY), LoopLimits(), sink, constraints=Constraints(load)
    )
    loop.start()
    loop.submit(request("r", source))
    loop.abort("r")
    loop.submit(request("free", None, max_tokens=3))
    while sink.ended.get(timeout=30) != "free":
        pass
    gate.set()
    loop.submit(request("again", source))
    while sink.ended.get(timeout=30) != "again":
        pass
    loop.stop()
    assert "r" not in sink.chunks
    assert (loop.stats().waiting, loop.stats().running) == (0, 0)


def test_without_a_tokenizer_grammars_are_refused_at_once():
    loop = EngineLoop(SimulatedRunner(), LoopLimits(), Collected())
    with pytest.raises(UnsupportedParameter):
        loop.submit(GenerationRequest("r", (1, 2), params(), 90, grammar=Grammar("llguidance", 'start: "a"')))


THINK, THOUGHT = 3, 4
"""Special tokens of the default model that serve as think markers here."""


def thinking_request(name, source, budget, *, inside, **members):
    asked = request(name, source, **members)
    thinking = ThinkingBudget(budget, (THINK,), (THOUGHT,), inside=inside)
    return msgspec.structs.replace(asked, thinking=thinking)


@pytest.fixture(scope="module")
def thinking_source(vocabulary, source):
    rules = source.partition("start: json")[2]
    return f"%llguidance {{}}\nstart: thought json\nthought: TEXT <[{THOUGHT}]>\nTEXT: /(?s:.*)/{rules}"


@pytest.mark.parametrize("budget", [0, 1, 20])
def test_thinking_ends_with_its_budget_and_the_answer_is_whole(vocabulary, thinking_source, budget):
    for seed in range(3):
        asked = thinking_request("r", thinking_source, budget, inside=True, seed=seed)
        tokens = run(vocabulary, [asked]).tokens("r")
        end = tokens.index(THOUGHT)
        assert budget <= end <= budget + 4  # a character in halves is finished first
        jsonschema.validate(json.loads(vocabulary.tokenizer.decode_str(tokens[end + 1 :])), SCHEMA)


def test_a_budget_counts_from_the_marker_on(vocabulary, thinking_source):
    source = thinking_source.replace("start: thought", f"start: <[{THINK}]> thought")
    tokens = run(vocabulary, [thinking_request("r", source, 6, inside=False)]).tokens("r")
    assert tokens[0] == THINK
    assert 7 <= tokens.index(THOUGHT) <= 11


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("budget", [0, 20])
def test_markers_of_several_tokens_end_thinking_too(vocabulary, inside, budget):
    markup = Markup(thinking=Thinking("<think>", "</think>"))
    job = Job("json_schema", json.dumps(SCHEMA), markup=markup, in_thinking=inside, limits_thinking=True)
    start, end = (tuple(vocabulary.tokenizer.tokenize_str(text)) for text in ("<think>", "</think>"))
    assert min(len(start), len(end)) > 1
    thinking = ThinkingBudget(budget, start, end, inside=inside)
    asked = request("r", build(job, vocabulary.special, [EOS]).source, max_tokens=140)
    for seed in range(3):
        asked = msgspec.structs.replace(
            asked, thinking=thinking, reservation=160, sampling=params(seed=seed, max_tokens=140)
        )
        text = vocabulary.tokenizer.decode_str(run(vocabulary, [asked]).tokens("r"))
        thought, _, answer = text.rpartition("</think>")
        assert len(vocabulary.tokenizer.tokenize_str(thought.removeprefix("<think>"))) <= budget + 8
        jsonschema.validate(json.loads(answer), SCHEMA)


CHANNELS = Channels("<|im_start|>", "<repo_name>", "<reponame>", "<file_sep>", "analysis")
"""Special tokens of the default model in the places of Harmony's."""
CALL = Calls("<repo_name>commentary to=functions.{name}<reponame>", "<|im_end|>", triggers=("<repo_name>",))


@pytest.mark.parametrize("budget", [0, 5, 20])
@pytest.mark.parametrize("must_call", [False, True])
def test_thinking_in_messages_ends_with_its_budget_and_the_answer_follows(vocabulary, budget, must_call):
    tool = ToolSpec("f", {"type": "object", "properties": {}, "additionalProperties": False}, True, "tools")
    job = Job(
        "json_schema",
        json.dumps(SCHEMA),
        tools=(tool,),
        must_call=must_call,
        markup=Markup(calls=CALL, channels=CHANNELS),
        limits_thinking=True,
    )
    answers = (
        "<|im_start|>assistant<repo_name>final<reponame>",
        "<|im_start|>assistant<repo_name>commentary to=",
    )
    then = tuple(tuple(vocabulary.tokenizer.tokenize_str(text, parse_special=True)) for text in answers)
    special = vocabulary.special
    thinking = ThinkingBudget(budget, (special["<reponame>"],), (special["<file_sep>"],), then=then)
    asked = request("r", build(job, special, [EOS]).source, max_tokens=150)
    asked = msgspec.structs.replace(asked, thinking=thinking, reservation=170)
    for seed in range(4):
        seeded = msgspec.structs.replace(asked, sampling=params(seed=seed, max_tokens=150))
        sink = run(vocabulary, [seeded])
        text = vocabulary.tokenizer.decode_str(sink.tokens("r"))
        messages = text.split("<reponame>")
        thought = sum(
            len(vocabulary.tokenizer.tokenize_str(one.split("<file_sep>")[0])) for one in messages[1:-1]
        )
        assert thought <= budget + 4
        assert sink.chunks["r"][-1].finish == "stop"
        if must_call or "functions.f" in messages[-2]:
            assert messages[-1].removesuffix("<|im_end|>") == "{}"
        else:
            assert messages[-2].endswith("final")
            jsonschema.validate(json.loads(messages[-1].removesuffix("<|im_end|>")), SCHEMA)


def test_guesses_do_not_move_the_end_of_thinking(vocabulary, thinking_source, monkeypatch):
    text = vocabulary.tokenizer.tokenize_str("a b a b a b a b a b a b")
    bias = tuple((token, 40.0) for token in set(text))
    asked = thinking_request("r", thinking_source, 30, inside=True, logit_bias=bias, max_tokens=120)
    asked = msgspec.structs.replace(asked, draft_token_ids=tuple(text * 4), reservation=140)
    ahead = run(vocabulary, [asked])
    monkeypatch.setattr(Scheduler, "_draft", lambda self, sequence, end, most: [])
    assert ahead.tokens("r") == run(vocabulary, [asked]).tokens("r")
