"""Serves /status: what the service is doing now, where no dashboard is at hand; English and Chinese, no script."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from fastapi import APIRouter
from prometheus_client import Counter, Gauge, Histogram
from starlette.requests import Request
from starlette.responses import HTMLResponse

from runners import catalog
from service import observability
from service.errors import NotReady
from service.serving import Serving, serving_of

_REFRESH_S = 5
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; } td:first-child { width: 45%; }
.bad { color: #c22; font-weight: 600; } .good { color: #283; } a, small { color: #888; }
"""
_CHINESE = {
    "Speech recognition service": "语音识别服务",
    "Status": "状态",
    "Ready": "就绪",
    "yes": "是",
    "no": "否",
    "Running for": "已运行",
    "Computing on": "计算设备",
    "Runners": "模型进程",
    "away": "不可用",
    "Calls repeated, the connection was lost": "连接中断后重试的调用",
    "Queue": "队列",
    "Requests waiting or in work": "等待或处理中的请求",
    "Audio waiting or in work": "等待或处理中的音频",
    "Live sessions": "实时会话",
    "Open": "进行中",
    "Jobs": "任务",
    "switched off": "未启用",
    "Waiting": "等待中",
    "Running": "处理中",
    "Failed, still kept": "失败（仍保留）",
    "Audio that waits": "等待中的音频",
    "The oldest waits for": "最早的任务已等待",
    "Recordings kept": "保存的录音",
    "Models (audio transcribed)": "模型（已转写音频）",
    "Requests": "请求",
    "none yet": "暂无",
    "Batches (mean size, utterances)": "批处理（平均大小、语音段数）",
    "Stages (mean, 95 % below, count)": "各阶段（平均耗时、95% 低于、次数）",
    "Processing time over audio duration (half below, 95 % below)": "处理时长与音频时长之比（半数低于、95% 低于）",
    "Live audio filtered as distant": "作为远场过滤的实时音频",
    "Counted since this process started; this page renews itself. For history: /metrics.": (
        "自本进程启动以来的统计，页面自动刷新。历史数据见 /metrics。"
    ),
}

router = APIRouter(include_in_schema=False)


@router.get("/status")
async def status(request: Request) -> HTMLResponse:
    """Shows the page, in the language of ``?lang=`` or else the browser's: Chinese or English."""
    wanted = request.query_params.get("lang") or request.headers.get("accept-language", "")
    chinese = wanted.lower().startswith("zh")
    page = _page(await _sections(serving_of(request)), chinese=chinese)
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})


class Cell(NamedTuple):
    """Holds what stands in a row.

    Attributes:
        text: Words, which are translated, or values.
        mark: Whether they are "good" or "bad" news; "": neither.
    """

    text: str
    mark: str = ""


Row = tuple[str, Cell]
Section = tuple[str, list[Row]]


async def _sections(serving: Serving) -> list[Section]:
    try:
        states = await serving.runners.states()
        device = await serving.device() if all(states.values()) else "-"
    except NotReady:
        states, device = {}, "-"
    ready = bool(states) and all(states.values())
    admission, limit_s = serving.admission, serving.settings.max_queue_audio_sec
    return [
        (
            "Status",
            [
                ("Ready", Cell("yes", "good") if ready else Cell("no", "bad")),
                ("Running for", Cell(_duration(time.time() - serving.started_at))),
                ("Computing on", Cell(device)),
            ],
        ),
        (
            "Runners",
            [
                *((name, Cell("yes", "good") if up else Cell("away", "bad")) for name, up in states.items()),
                ("Calls repeated, the connection was lost", Cell(_total(observability.runner_retries))),
            ],
        ),
        (
            "Queue",
            [
                ("Requests waiting or in work", Cell(str(admission.requests))),
                ("Audio waiting or in work", Cell(f"{_duration(admission.audio_s)} / {_duration(limit_s)}")),
            ],
        ),
        ("Live sessions", [*_live(serving)]),
        ("Jobs", [*_jobs(serving)]),
        ("Models (audio transcribed)", [*_models(serving.settings.enabled_models)]),
        ("Requests", [*_requests()] or [("none yet", Cell(""))]),
        ("Batches (mean size, utterances)", [*_batches()] or [("none yet", Cell(""))]),
        ("Stages (mean, 95 % below, count)", [*_stages()] or [("none yet", Cell(""))]),
        (
            "Processing time over audio duration (half below, 95 % below)",
            [
                (labels["model"], Cell(f"{_quantile(buckets, 0.5):g}, {_quantile(buckets, 0.95):g}"))
                for labels, _, _, buckets in _histogram(observability.real_time_factor)
            ]
            or [("none yet", Cell(""))],
        ),
    ]


def _live(serving: Serving) -> Iterator[Row]:
    open_now = [(labels["protocol"], value) for labels, value in _values(observability.live_sessions) if value]
    total = sum(value for _, value in open_now)
    yield "Open", Cell(f"{total:g} / {serving.settings.max_live_sessions}")
    yield from ((protocol, Cell(f"{value:g}")) for protocol, value in open_now)
    filtered_s = sum(value for _, value in _values(observability.nearfield_filtered_frames)) / 100
    yield "Live audio filtered as distant", Cell(_duration(filtered_s))


def _jobs(serving: Serving) -> Iterator[Row]:
    if not serving.settings.jobs_enabled:
        yield "switched off", Cell("")
        return
    counts = {labels["status"]: value for labels, value in _values(observability.jobs)}
    yield "Waiting", Cell(f"{counts.get('queued', 0):g} / {serving.settings.jobs_max_queued}")
    yield "Running", Cell(f"{counts.get('running', 0):g}")
    yield "Failed, still kept", Cell(f"{counts.get('failed', 0):g}")
    yield "Audio that waits", Cell(_duration(sum(value for _, value in _values(observability.jobs_queued_seconds))))
    yield "The oldest waits for", Cell(_duration(sum(value for _, value in _values(observability.jobs_oldest_seconds))))
    stored_gb = sum(value for _, value in _values(observability.jobs_storage_bytes)) / 2**30
    yield "Recordings kept", Cell(f"{stored_gb:.2f} / {serving.settings.jobs_max_storage / 2**30:g} GB")


def _models(enabled: Sequence[str]) -> Iterator[Row]:
    done = {labels["model"]: value for labels, value in _values(observability.audio_seconds)}
    for model_id in enabled:
        yield catalog.models()[model_id].title, Cell(_duration(done.get(model_id, 0.0)))


def _requests() -> Iterator[Row]:
    for labels, value in _values(observability.requests):
        good = labels["outcome"] in ("ok", "client_disconnected")
        yield f"{labels['protocol']}: {labels['outcome']}", Cell(f"{value:g}", "" if good else "bad")


def _batches() -> Iterator[Row]:
    for labels, count, total, _ in _histogram(observability.batch_size):
        # observed once for each utterance of a batch
        yield labels["runner"], Cell(f"{total / count:.1f}, {count:g}")


def _stages() -> Iterator[Row]:
    for labels, count, total, buckets in _histogram(observability.stage_seconds):
        p95 = _quantile(buckets, 0.95)
        yield labels["stage"], Cell(f"{total / count * 1000:.0f} ms, {p95 * 1000:g} ms, {count:g}")


def _values(metric: Counter | Gauge) -> list[tuple[dict[str, str], float]]:
    """Returns this process's values of a metric, without the time it was made."""
    return [
        (s.labels, s.value) for family in metric.collect() for s in family.samples if not s.name.endswith("_created")
    ]


def _total(metric: Counter) -> str:
    return f"{sum(value for _, value in _values(metric)):g}"


Buckets = list[tuple[float, float]]


def _histogram(metric: Histogram) -> Iterator[tuple[dict[str, str], float, float, Buckets]]:
    """Yields labels, count, sum, and (upper bound, count below it) of each histogram that has observed anything."""
    found: dict[tuple[tuple[str, str], ...], tuple[dict[str, float], Buckets]] = {}
    for sample in (sample for family in metric.collect() for sample in family.samples):
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        numbers, buckets = found.setdefault(labels, ({}, []))
        if "le" in sample.labels:
            buckets.append((float(sample.labels["le"]), sample.value))
        else:
            numbers[sample.name.rpartition("_")[2]] = sample.value
    for labels, (numbers, buckets) in found.items():
        count = buckets[-1][1] if buckets else 0.0
        if count:
            yield dict(labels), count, numbers["sum"], buckets


def _quantile(buckets: Buckets, share: float) -> float:
    """Returns the smallest upper bound that a share of the observations lies below."""
    count = buckets[-1][1]
    return next(bound for bound, below in buckets if below >= share * count)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _page(sections: Iterable[Section], *, chinese: bool) -> str:
    def say(text: str) -> str:
        return escape(_CHINESE.get(text, text) if chinese else text)

    def row(name: str, cell: Cell) -> str:
        return f'<tr><td>{say(name)}<td class="{cell.mark}">{say(cell.text)}'

    tables = "".join(
        f"<h2>{say(title)}</h2><table>{''.join(row(name, cell) for name, cell in rows)}</table>"
        for title, rows in sections
    )
    other = '<a href="?lang=en">English</a>' if chinese else '<a href="?lang=zh">中文</a>'
    note = say("Counted since this process started; this page renews itself. For history: /metrics.")
    return (
        f'<!doctype html><html lang="{"zh" if chinese else "en"}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="{_REFRESH_S}">'
        f"<title>{say('Status')}</title><style>{_STYLE}</style>"
        f"<h1>{say('Speech recognition service')}</h1>{tables}<p><small>{note}</small> {other}</html>"
    )
