"""How the GPU's memory is divided among the models."""

import sys
import types

import pytest

from runners import catalog, gpu
from runners.gpu import shares

MODELS = catalog.models()
LARGE, SMALL, PARAFORMER = (MODELS[n] for n in ("qwen3-asr-1.7b", "qwen3-asr-0.6b", "paraformer-large"))


@pytest.mark.parametrize("total_gb", [16, 24, 32, 80])
def test_engines_leave_room_for_the_models_beside_them(total_gb: float) -> None:
    (share,) = shares([SMALL, PARAFORMER], total_gb, live_engine=False).values()
    assert share.aligner > 0
    assert share.recogniser > 0
    assert share.live == 0
    assert (share.recogniser + share.aligner) * total_gb <= total_gb - 2.0 - 3.0 - 1.0 + 0.01


def test_more_memory_becomes_more_cache_up_to_what_anybody_needs() -> None:
    taken = [shares([LARGE], gb, live_engine=False)[LARGE.id].recogniser * gb for gb in (24, 40, 80, 141)]
    assert taken[0] < taken[1] < taken[2]
    assert taken[2] == pytest.approx(taken[3], abs=0.1)


def test_a_second_engine_for_live_sessions_takes_half_of_what_is_left() -> None:
    alone = shares([SMALL], 24, live_engine=False)[SMALL.id]
    pair = shares([SMALL], 24, live_engine=True)[SMALL.id]
    assert pair.live == pair.recogniser < alone.recogniser


def test_what_auto_loads_fits_the_cards_that_it_loads_it_on() -> None:
    assert shares([LARGE, PARAFORMER], 32, live_engine=False)
    assert shares([SMALL, PARAFORMER], 15.5, live_engine=False)


def test_what_does_not_fit_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match=r"need \d+\.\d GB of GPU memory and there are 8\.0.*ENABLED_MODELS$"):
        shares([LARGE, SMALL], 8, live_engine=False)
    with pytest.raises(ValueError, match="ENABLE_STREAMING_VLLM off"):
        shares([LARGE], 16, live_engine=True)


def test_without_a_gpu_there_is_no_memory() -> None:
    gpu.memory_gb.cache_clear()
    assert gpu.memory_gb() is None


class _Nvml(types.ModuleType):
    """NVML of a machine with a card of 24 GiB, one of 80, and one of 80 that is divided into two of 40."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self._gib = {"GPU-aaaa-1": 24, "GPU-abbb-2": 80, "GPU-cccc-3": 80, "MIG-dddd": 40, "MIG-eeee": 39}

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return list(self._gib)[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self._gib:
            raise self.NVMLError
        return uuid

    def nvmlDeviceGetUUID(self, card: str) -> str:
        return card

    def nvmlDeviceGetMigMode(self, card: str) -> list[int]:
        if card == "GPU-aaaa-1":
            raise self.NVMLError
        return [int(card == "GPU-cccc-3"), 0]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: str, index: int) -> str:
        return ["MIG-dddd", "MIG-eeee"][index]

    def nvmlDeviceGetMemoryInfo(self, card: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(total=self._gib[card] * 2**30, used=2**30)


@pytest.mark.parametrize(
    ("visible", "total_gb"),
    [
        (None, 24),
        ("0", 24),
        ("1", 80),
        ("1,0", 80),
        (" 1 , 0", 80),
        ("2", 40),  # CUDA sees the first of its parts
        ("3", None),
        ("", None),
        ("-1", None),
        ("-1,0", None),
        ("NoDevFiles", None),
        ("GPU-abbb-2", 80),
        ("GPU-ab", 80),  # CUDA takes the beginning of one, too
        ("GPU-abbb-2,GPU-aaaa-1", 80),
        ("GPU-ffff", None),
        ("MIG-eeee", 39),
        ("MIG-ffff", None),
    ],
)
def test_the_memory_is_that_of_the_card_that_cuda_sees(
    visible: str | None, total_gb: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _Nvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpu.memory_gb.cache_clear()
    assert gpu.memory_gb() == total_gb
    assert gpu.used_gb() == (None if total_gb is None else 1)
    gpu.memory_gb.cache_clear()
