"""Live recognition in batches: the same text in any company, FunASR's own text, and sessions that end cleanly."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from runners.catalog import PROJECT_ROOT
from runners.interface import StreamingItem, StreamingResult
from runners.kit.funasr_models import ModelDirectory, UnsupportedModelError
from runners.paraformer_streaming.engine import MODULES, ParaformerStreamingEngine
from runners.paraformer_streaming.punctuation import RealtimePunctuationEngine
from tests.speech import RECORDINGS, Pcm, silence

DEMO = PROJECT_ROOT / "models" / "demo"
SENTENCES = [n for n, r in sorted(RECORDINGS.items()) if len(r.sentences) == 1]
CHUNK = 9600
torch.set_num_threads(1)  # as in a runner; small steps on more threads mostly wait


def make(precision: Any = "fp32", directory: Path = DEMO / "paraformer_streaming", **options: Any) -> Any:
    return ParaformerStreamingEngine(ModelDirectory.read(directory), precision=precision, **options)


@pytest.fixture(scope="module")
def shared() -> ParaformerStreamingEngine:
    return make()


@pytest.fixture
def engine(shared: ParaformerStreamingEngine) -> Iterator[ParaformerStreamingEngine]:
    yield shared
    shared.close(list(shared._sentences))


def item(sentence: str, pcm: Pcm, first: bool = False, last: bool = False, punctuate: bool = False) -> StreamingItem:
    return StreamingItem(model="", sentence=sentence, pcm=pcm, is_first=first, is_last=last, punctuate=punctuate)


def cut(pcm: Pcm, sizes: Callable[[], int]) -> list[Pcm]:
    """Pieces of those sizes; at least one."""
    pieces, start = [], 0
    while not pieces or start < len(pcm):
        size = sizes()
        pieces.append(pcm[start : start + size])
        start += size
    return pieces


def alone(engine: ParaformerStreamingEngine, pieces: list[Pcm]) -> list[StreamingResult]:
    """Every result of one session, nobody else there."""
    last = len(pieces) - 1
    return [engine.step([item("alone", p, i == 0, i == last)])[0] for i, p in enumerate(pieces)]


def what(result: StreamingResult) -> tuple[Any, ...]:
    return result.tokens, result.starts_ms, result.ends_ms, result.error, result.lost


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_sessions_in_one_batch_go_on_as_if_alone(precision: str) -> None:
    engine, rng = make(precision), random.Random(3)
    names = [*SENTENCES[::2], "weather", "weather"]
    pieces_of = lambda name: cut(RECORDINGS[name].pcm, lambda: rng.choice([CHUNK, CHUNK, 0, 4000, 23_000]))  # noqa: E731
    sessions = {f"{name} {k}": pieces_of(name) for k, name in enumerate(names)}
    expected = {name: alone(engine, pieces) for name, pieces in sessions.items()}
    position = dict.fromkeys(sessions, 0)
    sizes = set()
    while position:
        company = rng.sample(sorted(position), min(len(position), rng.randint(1, 9)))
        items = [
            item(n, sessions[n][position[n]], position[n] == 0, position[n] == len(sessions[n]) - 1) for n in company
        ]
        for name, result in zip(company, engine.step(items), strict=True):
            assert what(result) == what(expected[name][position[name]]), name
            sizes.add(result.batch_size)
            position[name] += 1
            if position[name] == len(sessions[name]):
                del position[name]
    assert max(sizes) > 4
    assert len(engine) == 0


@pytest.mark.parametrize("size", [1600, 4800, 9599, 200_000])
def test_how_the_audio_is_cut_does_not_matter(engine: ParaformerStreamingEngine, size: int) -> None:
    pcm = RECORDINGS["date"].pcm
    whole = alone(engine, cut(pcm, lambda: CHUNK))[-1]
    assert what(alone(engine, cut(pcm, lambda: size))[-1]) == what(whole)
    assert "".join(whole.tokens) == "今天是二零二六年十一月二十三日"


def test_text_grows_while_the_sentence_is_spoken(engine: ParaformerStreamingEngine) -> None:
    results = alone(engine, cut(RECORDINGS["date"].pcm, lambda: CHUNK))
    for before, after in itertools.pairwise(results):
        assert after.tokens[: len(before.tokens)] == before.tokens
    assert len({len(r.tokens) for r in results}) > 4


@pytest.mark.parametrize("samples", [0, 1, 300, 959, 960, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 960])
def test_any_length_can_be_flushed(engine: ParaformerStreamingEngine, samples: int) -> None:
    (result,) = engine.step([item("s", RECORDINGS["date"].pcm[:samples], first=True, last=True)])
    assert result.error is None
    assert not result.lost
    assert len(engine) == 0


def test_times_are_those_of_the_speech(engine: ParaformerStreamingEngine) -> None:
    early, late = [], []
    for name in SENTENCES:
        result = alone(engine, cut(RECORDINGS[name].pcm, lambda: CHUNK))[-1]
        sentence = RECORDINGS[name].sentences[0]
        early.append(abs(result.starts_ms[0] - 1000 * sentence.start_s))
        late.append(abs(result.ends_ms[-1] - 1000 * sentence.end_s))
        times = [t for pair in zip(result.starts_ms, result.ends_ms, strict=True) for t in pair]
        assert times == sorted(times), name
    assert np.median(early) < 60
    assert np.median(late) < 200
    assert max(early + late) < 700


def test_a_session_that_never_began_is_lost(engine: ParaformerStreamingEngine) -> None:
    begun, unknown = engine.step([item("a", silence(1), first=True), item("b", silence(1))])
    assert unknown.lost
    assert not begun.lost


def test_a_session_ends_with_its_last_item_or_when_closed(engine: ParaformerStreamingEngine) -> None:
    engine.step([item("a", silence(1), first=True), item("b", silence(1), first=True)])
    engine.step([item("a", silence(0), last=True)])
    engine.close(["b", "never begun"])
    assert len(engine) == 0
    assert all(r.lost for r in engine.step([item("a", silence(1)), item("b", silence(1))]))


def test_beginning_again_forgets_what_was(engine: ParaformerStreamingEngine) -> None:
    engine.step([item("s", RECORDINGS["weather"].pcm, first=True)])
    (result,) = engine.step([item("s", RECORDINGS["numbers"].pcm, first=True, last=True)])
    assert "".join(result.tokens) == "一共三百零五元"


def test_idle_sessions_are_dropped() -> None:
    now = [0.0]
    engine = make(idle_s=60.0, clock=lambda: now[0])
    engine.step([item("idle", silence(1), first=True), item("busy", silence(1), first=True)])
    now[0] = 59.0
    engine.step([item("busy", silence(1))])
    now[0] = 61.0
    assert len(engine) == 1
    idle, busy = engine.step([item("idle", silence(1)), item("busy", silence(1))])
    assert idle.lost
    assert not busy.lost


def test_no_more_sentences_than_allowed() -> None:
    engine = make(most_sentences=1)
    first, second = engine.step([item("a", silence(1), first=True), item("b", silence(1), first=True)])
    assert first.error is None
    assert "1 live sentences" in (second.error or "")
    engine.close(["a"])
    assert engine.step([item("b", silence(1), first=True)])[0].error is None


def test_several_items_of_a_session_are_taken_in_their_order(engine: ParaformerStreamingEngine) -> None:
    pieces = cut(RECORDINGS["weather"].pcm, lambda: CHUNK)
    items = [item("s", p, i == 0, i == len(pieces) - 1) for i, p in enumerate(pieces)]
    assert [what(r) for r in engine.step(items)] == [what(r) for r in alone(engine, pieces)]


def test_samples_of_another_type_fail_their_session_only(engine: ParaformerStreamingEngine) -> None:
    pcm = RECORDINGS["weather"].pcm
    bad, good = engine.step([item("a", np.zeros(5, np.float32), first=True), item("b", pcm, first=True, last=True)])
    assert "int16" in (bad.error or "")
    assert "".join(good.tokens) == "今天天气怎么样"
    assert len(engine) == 0


def test_a_batch_that_fails_leaves_every_session_as_it_was(
    engine: ParaformerStreamingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part of the computation fails wherever sessions are together."""
    names = ["date", "weather", "sentence-0"]
    pieces = {name: cut(RECORDINGS[name].pcm, lambda: CHUNK) for name in names}
    expected = {name: alone(engine, pieces[name])[-1] for name in names}
    decode, failures = engine._network.decode, []

    def failing(encoded: torch.Tensor, *rest: Any) -> Any:
        found = decode(encoded, *rest)
        if len(encoded) > 1:
            failures.append(len(encoded))
            raise RuntimeError("out of memory")
        return found

    monkeypatch.setattr(engine._network, "decode", failing)
    results: dict[str, StreamingResult] = {}
    for step in range(max(map(len, pieces.values()))):
        going = [n for n in names if step < len(pieces[n])]
        items = [item(n, pieces[n][step], step == 0, step == len(pieces[n]) - 1) for n in going]
        results |= dict(zip(going, engine.step(items), strict=True))
    assert failures
    assert {n: what(r) for n, r in results.items()} == {n: what(r) for n, r in expected.items()}


def test_a_session_that_fails_alone_is_freed_and_the_others_go_on(
    engine: ParaformerStreamingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = engine._network.encode

    def failing(frames: torch.Tensor, *rest: Any) -> Any:
        if frames.isnan().any():
            raise RuntimeError("this session is ill")
        return encode(frames, *rest)

    monkeypatch.setattr(engine._network, "encode", failing)
    pcm = RECORDINGS["weather"].pcm
    engine.step([item("ill", pcm[:CHUNK], first=True), item("well", pcm[:CHUNK], first=True)])
    engine._sentences["ill"].overlap = torch.full_like(engine._sentences["ill"].overlap, float("nan"))
    ill, well = engine.step([item("ill", pcm[CHUNK:], last=True), item("well", pcm[CHUNK:], last=True)])
    assert "this session is ill" in (ill.error or "")
    assert "".join(well.tokens) == "今天天气怎么样"
    assert len(engine) == 0


def test_marks_follow_tokens_and_the_end_of_an_unfinished_sentence_has_none(engine: ParaformerStreamingEngine) -> None:
    engine.punctuation = RealtimePunctuationEngine(ModelDirectory.read(DEMO / "realtime_punctuation"))
    try:
        pcm = RECORDINGS["sentence-0"].pcm
        engine.step([item("s", pcm[: 5 * CHUNK], first=True)])
        (so_far,) = engine.step([item("s", silence(0), punctuate=True)])
        (unmarked,) = engine.step([item("s", silence(0))])
        (whole,) = engine.step([item("s", pcm[5 * CHUNK :], last=True, punctuate=True)])
    finally:
        engine.punctuation = None
    assert so_far.marks[-1] == ""
    assert set(unmarked.marks) == {""}
    text = "".join(t + m for t, m in zip(whole.tokens, whole.marks, strict=True))
    assert text == "今天中午晴天，注意安全。"


def test_pieces_of_a_word_have_one_mark_between_them() -> None:
    punctuation = RealtimePunctuationEngine(ModelDirectory.read(DEMO / "realtime_punctuation"))
    sentence = "今天天气怎么样我不知道"
    (plain, empty, pieces) = punctuation.mark([list(sentence), [], ["今", "天天@@", "气@@"]])
    assert plain[6] == "？"
    assert empty == []
    assert len(pieces) == 3
    assert pieces[1] == ""


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_fewer_bits_give_the_same_text(engine: ParaformerStreamingEngine, precision: str) -> None:
    lean = make(precision)
    different = [
        name
        for name in SENTENCES[:8]
        if alone(lean, [RECORDINGS[name].pcm])[-1].tokens != alone(engine, [RECORDINGS[name].pcm])[-1].tokens
    ]
    assert len(different) <= 1


def test_models_that_cannot_be_streamed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="not ParaformerStreaming"):
        make(directory=DEMO / "paraformer")
    import yaml

    config = yaml.safe_load((DEMO / "paraformer_streaming" / "config.yaml").read_text())
    config["decoder_conf"]["sanm_shfit"] = 0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UnsupportedModelError, match="sanm_shfit"):
        make(directory=tmp_path)


_FUNASR = """
import json, sys, numpy as np, torch
from funasr import AutoModel
model = AutoModel(model=sys.argv[1], device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR")
texts = []
for pcm in np.load(sys.argv[2]).values():
    cache, parts, wave = {}, [], torch.from_numpy(pcm.astype(np.float32) / 32768)
    for start in range(0, len(wave), 9600):
        parts.append(model.generate(
            input=wave[start:start + 9600], cache=cache, is_final=start + 9600 >= len(wave), chunk_size=[0, 10, 5],
            encoder_chunk_look_back=4, decoder_chunk_look_back=1)[0]["text"])
    texts.append(parts)
print(json.dumps(texts))
"""


def funasr_texts(model: Path, recordings: list[Pcm], folder: Path) -> list[list[str]]:
    """What FunASR's AutoModel makes of each chunk of the recordings, in a process of its own."""
    np.savez(folder / "recordings.npz", *recordings)
    command = [sys.executable, "-W", "ignore", "-c", _FUNASR, str(model), str(folder / "recordings.npz")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [[text.replace(" ", "") for text in parts] for parts in json.loads(output.splitlines()[-1])]


def write_small(out: Path) -> None:
    """Three layers of random weights that fire as often as speech has characters."""
    from scripts.demo.train_paraformer_streaming import configuration
    from scripts.demo.training import write_directory

    config, demo = configuration(), DEMO / "paraformer_streaming"
    config["encoder_conf"] |= {"num_blocks": 3, "attention_heads": 2}
    files = {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    write_directory(out, config, "auto-speech-recognition", json.loads((demo / "tokens.json").read_text()), files)
    (out / "am.mvn").write_bytes((demo / "am.mvn").read_bytes())
    torch.manual_seed(1)
    model: Any = ModelDirectory.read(out).build(MODULES, load_weights=False)
    torch.nn.init.constant_(model.predictor.cif_output.bias, -0.97)
    torch.save(model.state_dict(), out / "model.pt")


def texts_of_each_chunk(engine: ParaformerStreamingEngine, recording: Pcm) -> list[str]:
    results = alone(engine, cut(recording, lambda: CHUNK))
    known = [0, *(len(r.tokens) for r in results)]
    return ["".join(r.tokens[n:]) for r, n in zip(results, known, strict=False)]


def texts_of_funasrs_class(directory: ModelDirectory, recording: Pcm) -> list[str]:
    model: Any = directory.build(MODULES)
    from funasr.frontends.wav_frontend import WavFrontendOnline

    settings = directory.config["frontend_conf"] | {"cmvn_file": str(directory.path / "am.mvn")}
    cache: dict[str, Any] = {}
    texts = []
    pieces = cut(recording, lambda: CHUNK)
    for number, piece in enumerate(pieces, 1):
        results, _ = model.inference(
            [torch.from_numpy(piece.astype(np.float32) / 32768)],
            key=["a"],
            tokenizer=SimpleNamespace(ids2tokens=lambda ids: [directory.tokens[i] for i in ids]),
            frontend=WavFrontendOnline(**settings),
            cache=cache,
            is_final=number == len(pieces),
            device="cpu",
            chunk_size=[0, 10, 5],
            encoder_chunk_look_back=4,
            decoder_chunk_look_back=1,
            encoder_conf=directory.config["encoder_conf"],
            frontend_conf=directory.config["frontend_conf"],
        )
        texts.append(results[0]["text"].replace(" ", ""))
    return texts


# ends of every kind: nothing left, too little for a frame of its own, just enough
ENDS = [RECORDINGS["date"].pcm[: 5 * CHUNK + extra] for extra in (0, 500, 960)]


@pytest.mark.parametrize("size", ["demo", "small"])
def test_text_of_every_chunk_is_that_of_funasrs_class(size: str, tmp_path: Path) -> None:
    path = DEMO / "paraformer_streaming" if size == "demo" else tmp_path
    if size == "small":
        write_small(path)
    directory = ModelDirectory.read(path)
    engine = make(directory=path)
    for recording in [RECORDINGS["long-pause"].pcm[: 10 * CHUNK], RECORDINGS["weather"].pcm, *ENDS]:
        assert texts_of_each_chunk(engine, recording) == texts_of_funasrs_class(directory, recording)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["demo", "full"])
def test_text_of_every_chunk_is_that_of_funasrs_automodel(size: str, tmp_path: Path) -> None:
    model = DEMO / "paraformer_streaming" if size == "demo" else tmp_path / "model"
    if size == "full":
        from scripts.bench.full_size import STREAMING, write_model

        write_model(model, STREAMING)
    names = ["weather", "date"] if size == "full" else [*SENTENCES, "dialogue", "long-pause"]
    recordings = [*(RECORDINGS[n].pcm for n in names), *ENDS]
    engine = make(directory=model)
    for recording, expected in zip(recordings, funasr_texts(model, recordings, tmp_path), strict=True):
        assert texts_of_each_chunk(engine, recording) == expected
