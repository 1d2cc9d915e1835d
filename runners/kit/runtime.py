"""Does what every runner does alike: settings, BentoML limits, threads, loading an engine for each enabled model."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import Counter

from runners import catalog, logs, store
from runners.interface import Capacity, RecognitionItem
from runners.settings import RunnerSettings

if TYPE_CHECKING:
    from runners.kit.funasr_models import ModelDirectory

log = logging.getLogger(__name__)
R = TypeVar("R")
# Paraformer-large on one core, fp32: 0.14 s of CPU for each second of audio with one utterance of 5 s a batch, 0.095
# with 16 s a batch and no less with more.
_CPU_BATCH_S = 16.0


# Admission control is the API service's; here nothing may time out or be dropped. The client of a
# dependency would otherwise close its session every 100 requests and kill the calls in flight.
RUNNER_CONFIG: dict[str, Any] = {
    "traffic": {"timeout": 3600},
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},  # a line per utterance tells nobody anything
}


@functools.cache
def settings() -> RunnerSettings:
    """Reads the runners' settings, once in a process."""
    return RunnerSettings()


def fix_media_types(service: Any) -> None:
    """Works a result's media type out once instead of with each response.

    BentoML derives it from the result's JSON schema, anew for each response: a sixth of a small model's CPU time. It
    never changes.
    """
    for method in service.apis.values():
        method.output_spec.media_type = method.output_spec.mime_type()


def enabled_models(runner: str | None = None) -> list[catalog.Model]:
    """Returns the models to serve; those whose utterances ``runner`` recognises, if one is named."""
    enabled = [catalog.models()[name] for name in settings().enabled_models]
    return [model for model in enabled if runner is None or model.family.runner == runner]


@functools.cache
def _recognised_seconds() -> Counter:
    # Made where it counts: the API service, which imports this module, has none.
    return Counter("asr_recognised_seconds", "Seconds of audio that recognisers have computed.", ["model"])


def count_recognised(items: Sequence[RecognitionItem]) -> None:
    """Counts the audio of utterances that have been recognised, in the runner's own metric."""
    for item in items:
        _recognised_seconds().labels(item.model).inc(len(item.pcm) / 16_000)


def capacity(device: str) -> Capacity:
    """Says how much keeps a recogniser busy that computes ASR_BATCH_SIZE utterances at a time.

    On a CPU work grows with the audio: longer batches save nothing, and whoever comes next waits for them.
    """
    batch_s = _CPU_BATCH_S if device == "cpu" else None
    return Capacity(batch_size=settings().asr_batch_size, batch_s=batch_s)


class Engines:
    """Holds one engine for each enabled model that has a part.

    Engines are not thread-safe: a lock guards them where BentoML's one thread per worker doesn't (in-process tests).

    Attributes:
        device: Where they compute: `cpu` or `cuda`.
    """

    def __init__(self, engines: dict[str, Any], device: str = "cpu") -> None:
        """Takes ``engines`` by the models' ids."""
        self.device = device
        self._lock = threading.Lock()
        self._engines = engines

    @classmethod
    def load(cls, part: str, make: Callable[[ModelDirectory, str], Any], *, runner: str | None = None) -> Engines:
        """Loads what ``make`` makes of a directory and a device.

        ``runner``: see :func:`enabled_models`; a part that every family has needs it.
        """
        import torch

        from runners.kit.funasr_models import ModelDirectory

        logs.configure(settings().log_level, settings().log_format)
        torch.set_num_threads(settings().asr_threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        engines: dict[str, Any] = {}
        for model in enabled_models(runner):
            if part not in model.parts:
                continue
            started = time.monotonic()
            path = store.find_part(model, part, settings())
            engines[model.id] = make(ModelDirectory.read(path), device)
            log.info("%s %s: loaded on %s in %.1f s", model.id, part, device, time.monotonic() - started)
        return cls(engines, device)

    def get(self, model_id: str) -> Any:
        """Returns the engine of a model; raises KeyError where it has none."""
        return self._engines[model_id]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Returns (model id, engine) of each."""
        return self._engines.items()

    def by_model(self, model_ids: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        """Yields (engine, positions of its items) for each model of a batch, one at a time."""
        with self._lock:
            for model_id in dict.fromkeys(model_ids):
                yield self._engines[model_id], [i for i, m in enumerate(model_ids) if m == model_id]


def run_batch_or_each_alone(
    engines: Engines, items: Sequence[Any], run: Callable[[Any, Sequence[Any]], list[R]], failed: Callable[[str], R]
) -> list[R]:
    """Runs items model by model; where a batch fails, each of its items runs alone, so one cannot fail the others."""
    results: list[R] = [failed("not computed")] * len(items)
    for engine, positions in engines.by_model([item.model for item in items]):
        batch = [items[p] for p in positions]
        with logs.for_requests(item.request_id for item in batch):
            log.debug("%s: a batch of %d", type(engine).__name__, len(batch))
            found = _together_or_alone(engine, batch, run, failed)
        for position, result in zip(positions, found, strict=True):
            results[position] = result
    return results


def _together_or_alone(
    engine: Any, batch: Sequence[Any], run: Callable[[Any, Sequence[Any]], list[R]], failed: Callable[[str], R]
) -> list[R]:
    try:
        return run(engine, batch)
    except (RuntimeError, ValueError, IndexError) as error:
        log.warning("a batch of %d failed (%s); its items run alone", len(batch), error)
    found: list[R] = []
    for item in batch:
        with logs.for_requests([item.request_id]):
            try:
                found += run(engine, [item])
            except (RuntimeError, ValueError, IndexError) as alone:
                log.error("an item failed alone: %s", alone)
                found.append(failed(f"{type(alone).__name__}: {alone}"))
    return found
