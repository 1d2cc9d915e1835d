"""Reading TLG.fst: the arcs' costs, what back-off costs, and a graph made as FunASR's tools make it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import kaldifst
import pytest

from runners.catalog import PROJECT_ROOT
from runners.paraformer import runner
from runners.paraformer.language_model import FILE, LanguageModel
from runners.settings import RunnerSettings

DEMO = PROJECT_ROOT / "models" / "demo" / "language_model"


def cheapest(model: LanguageModel, tokens: list[int]) -> float:
    costs = {model.start: 0.0}
    for token in tokens:
        reached: dict[int, float] = {}
        for state, cost in costs.items():
            for target, step in model.step(state, token):
                reached[target] = min(reached.get(target, float("inf")), cost + step)
        costs = reached
    return min(cost + model.end(state) for state, cost in costs.items())


# As tools/fst of FunASR's runtime builds it, in small: T has a loop for the blank (input label 1), and for each
# token an arc, a loop that repeats it, and the way back. The words are 甲 (token 3), 甲乙 (3 4) and 乙 (4).
TLG = """
0 0 1 0
0 1 4 1 0.5
1 1 4 0
1 2 0 0
2 2 1 0
2 3 5 0 0.25
3 3 5 0
3 0 0 0 0.125
2 0 0 0 2
0 4 5 2 1.5
4 4 5 0
4 0 0 0
0 0.75
"""


def test_a_lexicon_with_words_of_several_tokens_is_walked() -> None:
    model = LanguageModel(kaldifst.compile(TLG), scale=1.0)
    assert cheapest(model, [3]) == pytest.approx(0.5 + 2 + 0.75)
    assert cheapest(model, [3, 4]) == pytest.approx(0.5 + 0.25 + 0.125 + 0.75)
    assert cheapest(model, [4, 4]) == pytest.approx(2 * 1.5 + 0.75)


def test_a_repeated_token_is_not_free() -> None:
    model = LanguageModel(kaldifst.compile(TLG), scale=1.0)
    assert cheapest(model, [4, 4]) - cheapest(model, [4]) == pytest.approx(1.5)


def test_an_unknown_token_has_its_price_and_ends_no_path() -> None:
    model = LanguageModel(kaldifst.compile(TLG), scale=0.1)
    assert cheapest(model, [3, 77, 4]) == pytest.approx(0.1 * (0.5 + 12 + 1.5 + 0.75))


def test_the_scale_is_the_directorys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kaldifst.compile(TLG).write(str(tmp_path / FILE))
    (tmp_path / "config.yaml").write_text('token_list:\n- "<eps>"\n', encoding="utf-8")
    assert LanguageModel.read(tmp_path).scale == pytest.approx(0.1)
    (tmp_path / "config.yaml").write_text('lm_scale: 0.25\ntoken_list:\n- "<eps>"\n', encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert LanguageModel.read(tmp_path).scale == pytest.approx(0.25)
    assert "MB of memory" in caplog.text


def test_a_constant_graph_is_read_too(tmp_path: Path) -> None:
    kaldifst.StdConstFst(kaldifst.compile(TLG)).write(str(tmp_path / FILE))
    assert cheapest(LanguageModel.read(tmp_path), [3]) == pytest.approx(0.1 * 3.25)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"version https://git-lfs")
    with pytest.raises(ValueError, match=r"TLG\.fst"):
        LanguageModel.read(tmp_path)


def test_the_demo_pack_prefers_the_domains_sentences() -> None:
    import json

    tokens = json.loads((DEMO.parent / "paraformer" / "tokens.json").read_text(encoding="utf-8"))
    model = LanguageModel.read(DEMO)
    said, unsaid = ([tokens.index(c) for c in text] for text in ("请打开客厅的灯", "请打开客听的灯"))
    assert cheapest(model, said) < cheapest(model, unsaid)
    assert sum(f.stat().st_size for f in DEMO.iterdir()) < 1_000_000


def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_id: str, **changes: Any) -> LanguageModel | None:
    """What the runner has for a model under settings of its own."""
    values = {"modelscope_path": tmp_path, "hf_home": tmp_path, "allow_model_download": False, **changes}
    settings = RunnerSettings(_env_file=None, enabled_models="demo", **values)
    monkeypatch.setattr(runner, "settings", lambda: settings)
    return runner._language_model(model_id)


def test_the_demo_pack_has_one_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert loaded(monkeypatch, tmp_path, "paraformer-demo") is not None
    assert loaded(monkeypatch, tmp_path, "paraformer-demo", asr_enable_lm=False) is None


def test_absent_files_are_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert loaded(monkeypatch, tmp_path, "paraformer-large") is None
    (record,) = caplog.records
    assert "paraformer-large language_model: off" in record.message
    assert "\n" not in record.message


def test_a_download_that_fails_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import modelscope

    asked = []

    def refuse(repository: str, **_: Any) -> str:
        asked.append(repository)
        raise OSError("no route to host")

    monkeypatch.setattr(modelscope, "snapshot_download", refuse)
    assert loaded(monkeypatch, tmp_path, "paraformer-large", allow_model_download=True) is None
    assert asked == ["iic/speech_ngram_lm_zh-cn-ai-wesp-fst"]
