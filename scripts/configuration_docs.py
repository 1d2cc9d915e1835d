"""Writes docs/configuration.md and docs/zh/configuration.md from the settings: every variable and its default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic.fields import FieldInfo

from runners.catalog import PROJECT_ROOT
from scripts.env_example import default_text
from scripts.serve import LaunchSettings
from service.settings import Settings


class Language(NamedTuple):
    """Holds what a page says around its tables.

    Attributes:
        path: Where the page lies.
        intro: Its text before the service's settings.
        launcher: Its text before the launcher's.
        header: The first two lines of a table.
    """

    path: str
    intro: str
    launcher: str
    header: str


ENGLISH = Language(
    "docs/configuration.md",
    """# Configuration

Every setting is an environment variable. A file `.env` in the working directory may hold them too; the environment
wins, and what a Bento was built with (`bento.env`: its models, no downloads) gives way to both. A wrong value stops the
start with a line that names the variable, before any model is loaded:

```
$ MAX_SEGMENT_SEC=1 make serve
wrong setting: MAX_SEGMENT_SEC Input should be greater than or equal to 5
```

With several processes or machines (see [deployment](deployment.md)) all of them get the same variables.
[.env.example](../.env.example) has them all, to copy. This page is made by `python -m scripts.configuration_docs`.
""",
    "## Of `make serve` only\n\nIn a container the port is `PORT`, too; `make serve` takes `ENABLED_MODELS=demo` "
    "for its default.\n",
    "| variable | default | |\n| --- | --- | --- |\n",
)
CHINESE = Language(
    "docs/zh/configuration.md",
    """# 配置

每项设置都是一个环境变量，也可以写在工作目录的 `.env` 文件里；环境变量优先，二者都优先于 Bento 自带的设置
（`bento.env`：它的模型、不下载）。值有误时，服务在加载模型之前就停下，并指出是哪个变量：

```
$ MAX_SEGMENT_SEC=1 make serve
wrong setting: MAX_SEGMENT_SEC Input should be greater than or equal to 5
```

有多个进程或多台机器时（见[部署](deployment.md)），全部使用同样的变量。[.env.example](../../.env.example) 列出了
所有变量，可以直接复制。本页由 `python -m scripts.configuration_docs` 生成。
""",
    "## 仅用于 `make serve`\n\n容器里的端口也是 `PORT`；`make serve` 的 `ENABLED_MODELS` 默认为 `demo`。\n",
    "| 变量 | 默认值 | |\n| --- | --- | --- |\n",
)

_IN_CHINESE = {
    "enabled_models": "要加载的模型：`auto`（本机能运行的）、`all`、`demo`（封闭词表的演示包），或用逗号分隔的"
    "模型 id。",
    "asr_batch_size": "识别器一次最多计算多少段语音（GPU 4，CPU 2）。",
    "asr_workers": "识别进程数；每个进程各自加载模型，使用 ASR_THREADS 个线程。识别进程在别的机器上时，在 API 进程这里"
    "说明有多少个。",
    "asr_enable_lm": "用 n-gram 语言模型在 Paraformer 的候选中选择；缺少其文件时不启用。",
    "asr_threads": "每个 runner 进程的计算线程数。",
    "asr_precision": "识别器编码器的运算精度。在支持 bf16 乘法的 CPU 上，`bf16` 的成本不到一半；"
    "两个结果可能性相近时文本可能不同。",
    "enable_streaming_vllm": "为实时 Qwen3-ASR 会话另外加载一个 vLLM 识别器，离线任务就不会拖慢它；关闭时两者共用一个，"
    "省去一半显存。",
    "streaming_precision": "实时识别器线性层的运算精度：`fp32`、`bf16`、`int8`，或 `auto`（CPU 支持 bf16 乘法时用 "
    "bf16，否则用 int8；GPU 上用 fp32）。",
    "modelscope_path": "ModelScope 缓存（其客户端各版本的任何目录结构），或结构为 `<org>/<name>/` 的目录；"
    "下载的模型按后者存放。客户端自己的变量 MODELSCOPE_CACHE 作用相同。",
    "hf_home": "Hugging Face 缓存。",
    "hf_hub_cache": "Hugging Face 的模型缓存，不在 HF_HOME 的 `hub` 里时设置。",
    "model_paths": "明确指定的模型目录：`id=目录,…`，id 是模型或仓库的 id（例如 "
    "`paraformer-large=/models/paraformer`）。",
    "allow_model_download": "启动时从 ModelScope 下载缺少的模型；封闭网络里设为 false。",
    "log_level": "日志级别。识别文本和提示词只出现在 DEBUG 级别。",
    "log_format": "每条日志是一行文本，还是一个 JSON 对象。",
    "otel_exporter_otlp_endpoint": "接收链路追踪的 OpenTelemetry collector（OTLP over HTTP），例如 "
    "http://collector:4318；留空则不追踪。",
    "api_key": "客户端可以使用的密钥，用逗号分隔；留空则不需要密钥。",
    "max_audio_size": "最大的音频文件：MB 数，或带单位的数（`500KB`、`2GB`）。",
    "max_audio_duration_sec": "最长的录音，以及一个实时会话中最长的音频（秒）。",
    "max_uploads": "同时接收的录音数（上传的和下载的）；超过时新请求得到 429。",
    "max_segment_sec": "转写结果中一段的最大时长（秒）。",
    "max_queue_audio_sec": "等待或处理中的音频总秒数上限；超过后请求得到 429 和 Retry-After。",
    "allow_private_audio_urls": "允许 `audio_address` 访问回环、内网和链路本地地址。",
    "audio_url_timeout_sec": "获取一个 `audio_address` 最多用多少秒。",
    "aliyun_status_style": "阿里云 REST API 成功时的 `status`：200（`http`），或者像云上那样为 20000000（`cloud`）。",
    "aliyun_access_key_id": "阿里云 SDK 用来给调用签名（CreateToken）的 AccessKey 的 id；留空时，设置了 API_KEY 就拒绝"
    "这类调用，没有设置则不检查。",
    "aliyun_access_key_secret": "这个 AccessKey 的 secret。token 由它生成；所有进程要用同一个。",
    "max_live_sessions": "同时进行的实时会话上限；超过后拒绝新的会话。",
    "live_idle_timeout_sec": "实时客户端多久不发音频，句子就结束；阿里云协议中任务随之失败，与云上一致。",
    "asr_enable_nearfield_filter": "在实时识别中滤除远处的说话声和背景声。",
    "asr_nearfield_rms_threshold": "实时声音的响度（RMS，满刻度为 1）低于此值视为远场。",
    "jobs_enabled": "接收任务：无需等待即可转写的录音（`/v1/audio/jobs`）。",
    "data_dir": "任务的存放处：录音，以及数据库（除非设置了 DATABASE_URL）。留空则是模型目录旁的 `asr-data`。",
    "database_url": "多台机器共同处理任务时的 PostgreSQL：`postgresql://用户:密码@主机/库名`；留空则用 DATA_DIR 中的 "
    "SQLite。",
    "storage_url": "任务录音的存放处，按 fsspec 的写法（`s3://BUCKET/PATH`）；留空则在 DATA_DIR 中。",
    "role": "`api` 接收客户端的任务，`worker` 处理任务、不服务客户端，`all` 两者都做。",
    "worker_name": "本进程在使用同一 DATABASE_URL 的进程中长期不变的名字；留空则用主机名。",
    "jobs_concurrency": "一个 worker 同时处理同一密钥的多少个任务。",
    "jobs_max_queued": "等待中的任务数上限；超过后得到 429。",
    "jobs_max_storage": "所有任务录音合计占用的上限：MB 数，或带单位的数；超过后任务得到 507。",
    "jobs_keep_hours": "任务结束后，结果和录音保留多少小时。",
    "webhook_secret": "按 Standard Webhooks 为发往 `callback_url` 的内容签名；留空则不签名。",
    "host": "监听地址；127.0.0.1 表示仅本机。",
    "port": "监听端口。",
}


def render(language: Language) -> str:
    """Returns a page's text.

    Raises:
        KeyError: a setting has no Chinese description yet.
    """
    launch = {name: field for name, field in LaunchSettings.model_fields.items() if name not in Settings.model_fields}
    return (
        f"{language.intro}\n{language.header}{_rows(language, Settings.model_fields.items())}"
        f"\n{language.launcher}\n{language.header}{_rows(language, launch.items())}"
    )


def _rows(language: Language, fields: Iterable[tuple[str, FieldInfo]]) -> str:
    rows = ""
    for name, field in fields:
        text = _IN_CHINESE[name] if language is CHINESE else field.description or ""
        default = default_text(name, field)
        rows += f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {text.replace('|', '&#124;')} |\n"
    return rows


def main() -> None:
    """Writes both pages."""
    for language in (ENGLISH, CHINESE):
        (PROJECT_ROOT / language.path).write_text(render(language), encoding="utf-8")


if __name__ == "__main__":
    main()
