"""Reads every environment variable of the service: typed, documented, validated once at start."""

from __future__ import annotations

import functools
import re
import sys
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode

from runners.settings import RunnerSettings

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

    @field_validator("api_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(SecretStr(key.strip()) for key in value.split(",") if key.strip())
        if value.strip() and not keys:  # whoever wrote it wants a key asked for
            raise ValueError("has no key between its commas; leave it empty to ask for none")
        return keys

    @field_validator("max_audio_size", mode="before")
    @classmethod
    def _parse_size(cls, value: object) -> object:
        if isinstance(value, int):
            return value * _UNITS[""]
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?B?)\s*", str(value).upper())
        if match is None:
            raise ValueError("must be a number of MB, or a number with KB, MB or GB (for example 500MB, 2GB)")
        unit = match.group(2)
        return int(float(match.group(1)) * _UNITS[unit + "B" if unit in ("K", "M", "G") else unit])


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
