"""Reads every environment variable of the service: typed, documented, validated once at start."""

from __future__ import annotations

import functools
import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from runners.settings import RunnerSettings
from service.auth import AccessKey

_UNITS = {"": 2**20, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}


class Settings(RunnerSettings):
    """Holds the API service's settings, on top of the runners'."""

    api_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Keys that clients may present, separated by commas; empty: no key is asked for."
    )
    max_audio_size: int = Field(
        default=2048 * 2**20,
        gt=0,
        description="Largest audio file: MB, or a number with a unit (`500KB`, `2GB`).",
        validate_default=False,
    )
    max_audio_duration_sec: float = Field(
        default=24 * 3600, gt=0, description="Longest recording, and longest audio of a live session, in seconds."
    )
    max_uploads: int = Field(
        default=256,
        gt=0,
        description="Recordings received at a time, sent or fetched; past it requests get 429.",
    )
    max_segment_sec: float = Field(default=90, ge=5, le=600, description="Longest segment of a transcript, in seconds.")
    max_queue_audio_sec: float = Field(
        default=4 * 3600,
        gt=0,
        description="Audio seconds that may wait or be in work; past it requests get 429 with Retry-After.",
    )
    allow_private_audio_urls: bool = Field(
        default=False, description="Let `audio_address` reach loopback, private and link-local addresses."
    )
    audio_url_timeout_sec: float = Field(
        default=300, gt=0, description="Longest time that fetching an `audio_address` may take."
    )
    aliyun_status_style: Literal["http", "cloud"] = Field(
        default="http",
        description="The `status` of a success in Alibaba Cloud's REST API: 200 (`http`), or 20000000 as the "
        "cloud itself answers (`cloud`).",
    )

    aliyun_access_key_id: str = Field(
        default="",
        description="AccessKey pair with which Alibaba Cloud's SDKs sign calls (CreateToken), its id; empty: with "
        "API_KEY such calls are refused, without it none is checked.",
    )
    aliyun_access_key_secret: SecretStr = Field(
        default=SecretStr(""),
        description="The pair's secret. Tokens are made with it; every process needs the same.",
        validate_default=True,
    )

    otel_exporter_otlp_endpoint: str = Field(
        default="",
        description="OpenTelemetry collector that takes traces (OTLP over HTTP), for example http://collector:4318; "
        "empty: no tracing.",
    )
    max_live_sessions: int = Field(
        default=200, gt=0, description="Live sessions at a time; past it a start is refused as one request too many."
    )
    live_idle_timeout_sec: float = Field(
        default=10,
        gt=0,
        description="How long a live client may send no audio before its sentence ends; in Alibaba Cloud's protocol, "
        "as in the cloud, its task then fails.",
    )
    asr_enable_nearfield_filter: bool = Field(
        default=True, description="Keep distant speech and background sound out of live recognition."
    )
    asr_nearfield_rms_threshold: float = Field(
        default=0.01, ge=0, le=1, description="Loudness (RMS of full scale 1) below which live sound counts as distant."
    )

    jobs_enabled: bool = Field(
        default=True, description="Take jobs: recordings that are transcribed while nobody waits (`/v1/audio/jobs`)."
    )
    data_dir: Path | None = Field(
        default=None,
        description="Where jobs are kept: their recordings, and their database unless DATABASE_URL names one. Empty: "
        "`asr-data` beside the model store.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL for jobs that several machines work on: `postgresql://USER:PASSWORD@HOST/NAME`; "
        "empty: SQLite in DATA_DIR.",
    )
    storage_url: str = Field(
        default="",
        description="Where recordings of jobs are kept, as fsspec has it (`s3://BUCKET/PATH`); empty: in DATA_DIR.",
    )
    role: Literal["all", "api", "worker"] = Field(
        default="all",
        description="`api` takes jobs from clients, `worker` does them and serves no clients, `all` does both.",
    )
    worker_name: str = Field(
        default="", description="Lasting name of this process among those of DATABASE_URL; empty: the host's."
    )
    jobs_concurrency: int = Field(default=2, ge=1, le=64, description="Jobs of one key that a worker does at a time.")
    jobs_max_queued: int = Field(default=10_000, gt=0, description="Jobs that may wait; past it they get 429.")
    jobs_max_storage: int = Field(
        default=100 * 2**30,
        gt=0,
        description="What the recordings of jobs may take together: MB, or a number with a unit; past it jobs get 507.",
        validate_default=False,
    )
    jobs_keep_hours: float = Field(
        default=72, gt=0, description="How long results and recordings of finished jobs are kept."
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs what `callback_url` is told, as Standard Webhooks has it; empty: it is not signed.",
    )

    @property
    def data_path(self) -> Path:
        """Returns DATA_DIR, or where it is by default."""
        return (self.data_dir or self.modelscope_path.parent / "asr-data").expanduser()

    @property
    def worker(self) -> str:
        """Returns the name that this process has among those that do jobs; one alone keeps its name on any host."""
        if not self.database_url.get_secret_value():
            return "local"
        return self.worker_name or socket.gethostname()

    @property
    def jobs_database(self) -> str:
        """Returns where jobs are written down, as SQLAlchemy has it."""
        url = self.database_url.get_secret_value()
        return _with_driver(url) if url else f"sqlite:///{self.data_path / 'jobs.sqlite'}"

    @property
    def queue_database(self) -> str:
        """Returns where DBOS keeps its queues."""
        url = self.database_url.get_secret_value()
        return _with_driver(url) if url else f"sqlite:///{self.data_path / 'queue.sqlite'}"

    @field_validator("data_dir", mode="before")
    @classmethod
    def _empty_is_default(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not re.match(r"postgres(ql)?(\+psycopg)?://", url.get_secret_value()):
            raise ValueError("must begin with postgresql://")
        return url

    @field_validator("api_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(SecretStr(key.strip()) for key in value.split(",") if key.strip())
        if value.strip() and not keys:  # whoever wrote it wants a key asked for
            raise ValueError("has no key between its commas; leave it empty to ask for none")
        return keys

    @field_validator("aliyun_access_key_secret")
    @classmethod
    def _check_pair(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if bool(value.get_secret_value()) != bool(info.data.get("aliyun_access_key_id")):
            raise ValueError("goes with ALIYUN_ACCESS_KEY_ID: set both, or neither")
        return value

    @property
    def aliyun_access_key(self) -> AccessKey | None:
        """Returns the pair that signs calls; None where there is none."""
        if not self.aliyun_access_key_id:
            return None
        return AccessKey(self.aliyun_access_key_id, self.aliyun_access_key_secret)

    @field_validator("max_audio_size", "jobs_max_storage", mode="before")
    @classmethod
    def _parse_size(cls, value: object) -> object:
        if isinstance(value, int):
            return value * _UNITS[""]
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?B?)\s*", str(value).upper())
        if match is None:
            raise ValueError("must be a number of MB, or a number with KB, MB or GB (for example 500MB, 2GB)")
        unit = match.group(2)
        return int(float(match.group(1)) * _UNITS[unit + "B" if unit in ("K", "M", "G") else unit])


def _with_driver(url: str) -> str:
    return re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url)


def describe_problems(error: ValidationError) -> str:
    """Describes each wrong variable in a line that names it."""
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
        lines.append(f"{name} {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


@functools.cache
def settings() -> Settings:
    """Returns the settings of this process; a wrong one ends the process with a line that names it."""
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.write(f"wrong setting: {describe_problems(error)}\n")
        raise SystemExit(2) from None
