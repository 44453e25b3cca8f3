"""OpenVINO's kernels with the default model: the same bits alone and in company, and blocks that travel."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from chatwright.core.errors import EngineFailed
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.batching.runner import StepBatch
from chatwright.engines.batching.selfcheck import SelfCheck, self_check
from chatwright.engines.openvino.runner import OpenVINORunner, _order_ties, block_bytes
from chatwright.engines.process.build import build_runner
from chatwright.engines.process.options import EngineOptions

SIZE = 32
CONTEXTS = (40, 200, 1000)


@pytest.fixture(scope="module")
def runner(model_xml):
    runner = OpenVINORunner(model_xml, context_length=2048, block_count=640, threads=2)
    yield runner
    runner.close()


class Pages:
    """Hands out the runner's blocks and steps sequences given as (name, tokens)."""

    def __init__(self, runner: OpenVINORunner) -> None:
        self.runner = runner
        self.past: dict[str, int] = {}
        self.tables: dict[str, list[int]] = {}
        self.free = list(range(runner.info.block_count))
        np.random.default_rng(3).shuffle(self.free)

    def step(self, *parts: tuple[str, list[int]]) -> np.ndarray:
        """The logits of each sequence's last row."""
        for name, tokens in parts:
            self.past.setdefault(name, 0)
            table = self.tables.setdefault(name, [])
            while len(table) * SIZE < self.past[name] + len(tokens):
                table.append(self.free.pop())
        counts = [len(tokens) for _, tokens in parts]
        begins = np.cumsum([0, *counts]).astype(np.int32)
        pasts = [self.past[name] for name, _ in parts]
        tables = [self.tables[name] for name, _ in parts]
        self.last = self.runner.forward(
            StepBatch(
                np.concatenate([np.array(tokens, np.int32) for _, tokens in parts]),
                np.concatenate(
                    [np.arange(p, p + n, dtype=np.int32) for p, n in zip(pasts, counts, strict=True)]
                ),
                np.array(pasts, np.int32),
                begins,
                np.concatenate([np.array(table, np.int32) for table in tables]),
                np.cumsum([0, *map(len, tables)]).astype(np.int32),
                begins[1:] - 1,
            )
        )
        for name, tokens in parts:
            self.past[name] += len(tokens)
        return self.last.logits.copy()

    def fork(self, source: str, name: str) -> None:
        """A copy of a sequence in blocks of its own."""
        table = [self.free.pop() for _ in self.tables[source]]
        self.runner.copy_blocks(list(zip(self.tables[source], table, strict=True)))
        self.tables[name], self.past[name] = table, self.past[source]

    def drop(self, *names: str) -> None:
        for name in names:
            self.free += self.tables.pop(name)
            del self.past[name]


def words(seed: int, count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(300, 40_000, count)]


def test_a_prompt_gives_the_same_bits_alone_and_beside_others(runner):
    pages = Pages(runner)
    alone = pages.step(("a", words(1, 100)))[0]
    pages.drop("a")
    for others in (1, 5):
        names = [(f"n{i}", words(10 + i, 30 + 7 * i)) for i in range(others)]
        for parts in ([*names, ("a", words(1, 100))], [("a", words(1, 100)), *names]):
            rows = pages.step(*parts)
            assert np.array_equal(rows[[name for name, _ in parts].index("a")], alone)
            pages.drop(*[name for name, _ in parts])


@pytest.mark.parametrize("cuts", [[64], [32, 64], [50], [2, 98], [33, 35]])
def test_a_prompt_gives_the_same_bits_however_it_is_cut(runner, cuts):
    pages, tokens = Pages(runner), words(2, 100)
    whole = pages.step(("whole", tokens))[0]
    after_whole = pages.step(("whole", [7]))[0]
    for begin, end in zip([0, *cuts], [*cuts, 100], strict=True):
        last = pages.step(("cut", tokens[begin:end]))[0]
    assert np.array_equal(last, whole)
    assert np.array_equal(pages.step(("cut", [7]))[0], after_whole)


def test_a_cut_prompt_beside_a_decoding_stream_gives_the_same_bits(runner):
    pages, tokens = Pages(runner), words(3, 90)
    whole = pages.step(("whole", tokens))[0]
    pages.step(("stream", words(4, 40)))
    for begin in range(0, 90, 30):
        rows = pages.step(("stream", [9]), ("cut", tokens[begin : begin + 30]))
    assert np.array_equal(rows[1], whole)


@pytest.mark.parametrize("context", CONTEXTS)
def test_decoding_gives_the_same_bits_alone_and_in_a_batch(runner, context):
    """Two tokens each, so that what the first wrote counts too; alone, in 2, 8 and 32, and beside a prefill."""
    pages = Pages(runner)
    pages.step(("base", words(5, context)))
    for i in range(3):
        pages.step((f"other{i}", words(50 + i, context // 2 + 13 * i + 2)))

    def decode(count: int, place: int, *more) -> list[np.ndarray]:
        pages.fork("base", "me")
        batch = [f"c{i}" for i in range(count - 1)]
        for i, name in enumerate(batch):
            pages.fork(f"other{i % 3}", name)
        batch.insert(place, "me")
        found = []
        for token in (11, 12):
            extra = [(name, words(60, 40)) for name in more]
            rows = pages.step(*[(name, [token]) for name in batch], *extra)
            found.append(rows[place])
            more = ()
            if extra:
                pages.drop(*[name for name, _ in extra])
        pages.drop(*batch)
        return found

    alone = decode(1, 0)
    assert not np.array_equal(alone[0], alone[1])
    for count, place in [(2, 1), (8, 0), (8, 5), (32, 31)]:
        assert np.array_equal(decode(count, place), alone), (count, place)
    assert np.array_equal(decode(1, 0, "prompt"), alone)
    assert np.array_equal(decode(4, 2, "prompt"), alone)


def test_a_lone_stream_gives_the_same_bits_with_other_numbers_of_threads(model_xml):
    """Fewer sequences than threads are kept company: the plugin would split their contexts otherwise."""
    found = []
    for threads in (1, 4):
        runner = OpenVINORunner(model_xml, context_length=512, block_count=60, threads=threads)
        pages = Pages(runner)
        pages.step(("a", words(6, 300)))
        pages.fork("a", "b")
        alone = pages.step(("a", [11]))[0]
        rows = pages.step(("b", [11]), ("n1", [5]), ("n2", [6]), ("n3", [7]), ("n4", [8]))
        assert np.array_equal(rows[0], alone)
        found.append(alone)
        runner.close()
    assert np.array_equal(*found)


def test_exported_blocks_continue_bit_for_bit_elsewhere(runner):
    pages = Pages(runner)
    pages.step(("a", words(7, 150)))
    for token in (3, 4):
        pages.step(("a", [token]))
    data = runner.export_blocks(pages.tables["a"])
    assert len(data) == len(pages.tables["a"]) * (runner.export_blocks([0]).__len__())
    here = [pages.step(("a", [token]))[0] for token in (5, 6, 7)]
    pages.tables["b"] = [pages.free.pop() for _ in pages.tables["a"]]
    pages.past["b"] = 152
    runner.import_blocks(pages.tables["b"], data)
    there = [pages.step(("b", [token]))[0] for token in (5, 6, 7)]
    assert np.array_equal(here, there)


def test_data_that_doesnt_fit_is_refused(runner):
    data = runner.export_blocks([0, 1])
    with pytest.raises(ValueError, match="doesn't fit"):
        runner.import_blocks([0], data)
    runner.copy_blocks([])
    assert runner.export_blocks([]) == b""
    runner.import_blocks([], b"")


def test_candidates_are_the_top_of_the_logits_in_order(runner):
    pages = Pages(runner)
    pages.step(*[(f"s{i}", words(80 + i, 20)) for i in range(6)])
    logits = pages.last
    expected = np.argsort(-logits.logits, axis=1, kind="stable")[:, : runner.info.candidates]
    values = np.take_along_axis(logits.logits, expected, 1)
    assert np.array_equal(logits.candidate_logits, values)
    ours = values[:, :-1] > values[:, -1:]  # a tie over the edge may name another id
    assert np.array_equal(logits.candidate_ids[:, :-1][ours], expected[:, :-1][ours])
    exact = np.log(np.exp(logits.logits.astype(np.float64)).sum(axis=1))
    assert np.allclose(logits.logsumexp, exact, atol=1e-4)


def test_ties_are_ordered_by_id():
    ids = np.array([[9, 4, 7, 1], [3, 2, 1, 0]], np.int32)
    values = np.array([[5.0, 5.0, 5.0, 1.0], [4.0, 3.0, 2.0, 1.0]], np.float32)
    ordered, kept = _order_ties(ids, values)
    assert ordered.tolist() == [[4, 7, 9, 1], [3, 2, 1, 0]]
    assert np.array_equal(kept, values)
    same, _ = _order_ties(ids[1:], values[1:])
    assert same is not None
    assert same.tolist() == [[3, 2, 1, 0]]


def test_this_machine_passes_the_self_check(runner):
    assert self_check(runner) == SelfCheck()


def test_kernels_that_change_with_the_size_of_a_step_give_way_to_float32(model_xml, monkeypatch):
    """bf16 where its kernels are steady and the processor has it; the fingerprint tells the two apart."""
    forward = OpenVINORunner._hidden
    made = []
    for moved in (0, 1):

        def hidden(self, batch, moved=moved):
            rows = forward(self, batch).data
            return ov.Tensor(rows * 0 + moved * len(batch.past_lens))

        monkeypatch.setattr(OpenVINORunner, "_hidden", hidden)
        runner = OpenVINORunner(model_xml, context_length=64, block_count=4, threads=2)
        made.append((str(runner._caches[0].get_element_type()), runner.info.fingerprint))
        runner.close()
    (steady, one), (unsteady, other) = made
    capable = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert steady == ("<Type: 'bfloat16'>" if capable else "<Type: 'float16'>")
    assert unsteady == "<Type: 'float16'>"
    assert (one != other) == capable


def test_info_says_what_the_model_is(runner, model_xml):
    assert (runner.info.vocab_size, runner.info.block_size, runner.info.candidates) == (49152, SIZE, 64)
    assert not runner.info.exact_recompute
    assert block_bytes(model_xml) == len(runner.export_blocks([0])) == 30 * 2 * 3 * 64 * 2 * SIZE


# -- folders that hold something else ---------------------------------------------------------------------------

XML = '<?xml version="1.0"?><net name="x" version="11"><layers/><edges/></net>'
ADDER = """<?xml version="1.0"?><net name="x" version="11"><layers>
<layer id="0" name="a" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="1" name="r" type="Result" version="opset1"><input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>"""


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"openvino_model.xml": XML},
        {"openvino_model.bin": ""},
        {"openvino_model.xml": "", "openvino_model.bin": ""},
        {"openvino_model.xml": "<<<", "openvino_model.bin": "x"},
        {"openvino_model.xml": XML, "openvino_model.bin": ""},
        {"openvino_model.xml": ADDER, "openvino_model.bin": ""},
        {"openvino_model.xml": "\x00\xff" * 500, "openvino_model.bin": "x" * 500},
    ],
    ids=["empty", "no weights", "no graph", "empty files", "no xml", "no layers", "no decoder", "noise"],
)
def test_a_folder_without_a_decoder_is_told_of(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    path = tmp_path / "openvino_model.xml"
    with pytest.raises(EngineFailed):
        block_bytes(path)
    with pytest.raises(EngineFailed):
        OpenVINORunner(path, context_length=64, block_count=8, threads=1)
    with pytest.raises(EngineFailed):
        build_runner(EngineOptions("openvino", str(path), 64, 1, 1 << 30, LoopLimits()))


def test_weights_that_are_cut_off_are_told_of(tmp_path, model_xml):
    (tmp_path / "openvino_model.xml").write_bytes(model_xml.read_bytes())
    (tmp_path / "openvino_model.bin").write_bytes(model_xml.with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(EngineFailed):
        OpenVINORunner(tmp_path / "openvino_model.xml", context_length=64, block_count=8, threads=1)
