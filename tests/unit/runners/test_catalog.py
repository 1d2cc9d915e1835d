"""Which models ENABLED_MODELS means, on which machine."""

import logging
import subprocess
import sys

import pytest

from runners.catalog import PROJECT_ROOT, Model, models
from runners.families import QWEN3
from runners.gpu import shares
from runners.settings import resolve_enabled

LARGE, SMALL, PARAFORMER = "qwen3-asr-1.7b", "qwen3-asr-0.6b", "paraformer-large"


@pytest.mark.parametrize(
    ("gpu_memory_gb", "enabled"),
    [
        (None, (PARAFORMER,)),
        (8, (PARAFORMER,)),
        (11, (SMALL,)),
        (12, (SMALL,)),
        (14.6, (SMALL, PARAFORMER)),  # a T4, sold as 16
        (16, (SMALL, PARAFORMER)),
        (24, (SMALL, PARAFORMER)),
        (31.8, (LARGE, PARAFORMER)),  # cards sold as 32
        (40, (LARGE, PARAFORMER)),
        (48, (LARGE, PARAFORMER)),
        (80, (LARGE, PARAFORMER)),
    ],
)
def test_auto_takes_what_fits_the_gpus_memory_and_says_so(
    gpu_memory_gb: float | None, enabled: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert resolve_enabled(("auto",), gpu_memory_gb) == enabled
    if gpu_memory_gb is not None:
        shares([models()[name] for name in enabled], gpu_memory_gb, live_engine=False)
        assert f"auto: {', '.join(enabled)}, which fit the GPU's {gpu_memory_gb:.1f} GiB" in caplog.text


@pytest.mark.parametrize("gpu_memory_gb", [8, 11, 12, 16, 24, 31.8, 40, 48, 80])
def test_auto_leaves_room_for_the_engine_for_live_sessions(gpu_memory_gb: float) -> None:
    chosen = resolve_enabled(("auto",), gpu_memory_gb, live_engine=True)
    shares([models()[name] for name in chosen], gpu_memory_gb, live_engine=True)


def test_a_gpu_too_small_for_anything_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve_enabled(("auto",), 4) == (PARAFORMER,)
    assert "nothing is known to fit the GPU's 4.0 GiB" in caplog.text


def test_all_is_every_real_model_but_without_a_gpu_no_qwen3() -> None:
    on_gpu, on_cpu = resolve_enabled(("all",), 24), resolve_enabled(("all",), None)
    assert set(on_gpu) == {m.id for m in models().values() if not m.demo}
    assert set(on_cpu) == {name for name in on_gpu if models()[name].family is not QWEN3}


@pytest.mark.parametrize("name", ["auto", "all"])
def test_the_log_says_which_models_are_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        resolve_enabled((name,), None)
    assert LARGE in caplog.text
    assert SMALL in caplog.text


def test_a_qwen3_that_is_named_is_served_without_a_gpu() -> None:
    assert resolve_enabled((SMALL,), None) == (SMALL,)
    assert resolve_enabled(("auto", SMALL), None) == (PARAFORMER, SMALL)


def test_names_keep_their_order_and_count_once() -> None:
    assert resolve_enabled((PARAFORMER, SMALL, PARAFORMER), 80) == (PARAFORMER, SMALL)


def test_an_unknown_name_is_told_with_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"'whisper' is not a model; known: .*paraformer-large"):
        resolve_enabled(("whisper",), None)


def test_demo_models_are_in_demo_only() -> None:
    demo = set(resolve_enabled(("demo",), 80))
    assert demo == {m.id for m in models().values() if m.demo}
    assert not demo & set(resolve_enabled(("all",), 80))


def test_a_model_of_no_known_family_is_refused() -> None:
    entry = models()[LARGE].model_dump() | {"family": "whisper"}
    with pytest.raises(ValueError, match=r"'whisper' is no family; known: paraformer, qwen3"):
        Model.model_validate(entry)


def test_a_model_hears_live_where_it_has_its_familys_part_for_it() -> None:
    assert all(model.hears_live for model in models().values())
    assert not models()[PARAFORMER].model_copy(update={"streaming": None}).hears_live


def test_what_the_models_can_is_known_without_loading_what_runs_them() -> None:
    """The service and the launcher ask; a heavy import would cost each of their processes seconds."""
    code = "import sys, runners.catalog; print(*{'torch', 'vllm', 'funasr', 'transformers'} & set(sys.modules))"
    asked = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == ""
