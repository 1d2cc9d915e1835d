"""Reads the environment variables of the runners; the service's own are added in service/settings.py."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runners import catalog, gpu

# A Bento says in bento.env which models it carries; the later file and the environment win.
_ENV_FILES = (catalog.PROJECT_ROOT / "bento.env", ".env")

log = logging.getLogger(__name__)


class RunnerSettings(BaseSettings):
    """Says which models run, where their files are, and how they use the machine."""

    model_config = SettingsConfigDict(env_file=_ENV_FILES, extra="ignore", frozen=True, hide_input_in_errors=True)

    enable_streaming_vllm: bool = Field(
        default=False,
        description="Load a second vLLM recogniser for live Qwen3-ASR sessions, which offline work then cannot slow; "
        "off, both share one, and half the GPU memory.",
    )
    enabled_models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("auto",),
        description="Models to load: `auto` (what this machine can run), `all`, `demo` (the closed-vocabulary "
        "demo pack), or a comma-separated list of model ids. The first is the default of requests.",
        validate_default=True,
    )
    asr_batch_size: int = Field(
        default=4, ge=1, le=64, description="Most utterances that a recogniser computes at once (GPU 4, CPU 2)."
    )
    asr_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Recogniser processes; each loads the models and uses ASR_THREADS threads. Where they are on other "
        "machines, the API process is told here how many there are.",
    )
    asr_enable_lm: bool = Field(
        default=True,
        description="Let an n-gram language model choose among what Paraformer finds likely; off where its files are "
        "missing.",
    )
    asr_threads: int = Field(default=1, ge=1, le=64, description="Compute threads of each runner process.")
    asr_precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Arithmetic of the recogniser's encoder. `bf16` costs less than half on CPUs that multiply it; "
        "texts may differ where two are about as likely.",
    )
    streaming_precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="Arithmetic of the live recogniser's linear layers: `fp32`, `bf16`, `int8`, or `auto` "
        "(bf16 where the CPU multiplies it, else int8; fp32 on a GPU).",
    )
    modelscope_path: Path = Field(
        default=Path("~/.cache/modelscope/hub/models"),
        validation_alias=AliasChoices("modelscope_path", "modelscope_cache"),
        description="ModelScope cache in any layout of its clients, or a directory laid out `<org>/<name>/`; downloads "
        "go to the latter. MODELSCOPE_CACHE, which the clients read, does the same.",
        validate_default=True,
    )
    hf_home: Path = Field(
        default=Path("~/.cache/huggingface"), description="Hugging Face cache.", validate_default=True
    )
    hf_hub_cache: Path | None = Field(
        default=None, description="Hugging Face cache of models, where that is not `hub` in HF_HOME."
    )
    model_paths: Annotated[dict[str, Path], NoDecode] = Field(
        default={},
        description="Explicit model directories: `id=directory,…`, where id is a model or repository id "
        "(for example `paraformer-large=/models/paraformer`).",
    )
    allow_model_download: bool = Field(
        default=True, description="Fetch missing models from ModelScope at start; false in closed networks."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Level of the service's logs. Text and prompts appear at DEBUG only."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="A text line or a JSON object per record.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("enabled_models", mode="before")
    @classmethod
    def _resolve_models(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if not value:
            raise ValueError("is empty; use auto, all, demo or a list of model ids")
        assert isinstance(value, tuple)
        live_engine = info.data.get("enable_streaming_vllm", False)  # the field above
        return resolve_enabled(value, gpu.memory_gb(), live_engine=live_engine)

    @field_validator("model_paths", mode="before")
    @classmethod
    def _parse_paths(cls, value: object) -> object:
        if isinstance(value, str):
            pairs = [part.split("=", 1) for part in value.split(",") if part.strip()]
            if any(len(pair) != 2 for pair in pairs):
                raise ValueError("must be id=directory pairs, separated by commas")
            return {name.strip(): Path(path.strip()) for name, path in pairs}
        return value

    @field_validator("hf_hub_cache", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("modelscope_path", "hf_home", "hf_hub_cache")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()


# What `auto` takes on a GPU, the best first, each from some GiB of memory on (a card sold as 32 GB reports 31.x) and
# where it fits. The 1.7B would run in less, with less cache than many requests at a time want.
_ON_GPU = (
    (30, ("qwen3-asr-1.7b", "paraformer-large")),
    (0, ("qwen3-asr-0.6b", "paraformer-large")),
    (0, ("qwen3-asr-0.6b",)),
    (0, ("paraformer-large",)),
)


def resolve_enabled(
    names: tuple[str, ...], gpu_memory_gb: float | None, *, live_engine: bool = False
) -> tuple[str, ...]:
    """Model ids for ENABLED_MODELS: expands ``auto``, ``all`` and ``demo``; ValueError on an unknown name.

    ``gpu_memory_gb`` is that of the GPU, None where there is none: then a model that needs one must be named.
    ``live_engine``: as in ``gpu.shares``.
    """
    known = catalog.models()
    real = [m.id for m in known.values() if not m.demo]
    if gpu_memory_gb is None:
        left_out = [name for name in real if known[name].family.needs_gpu]
        groups = {name: [n for n in real if n not in left_out] for name in ("auto", "all")}
    else:
        left_out = []
        chosen = _fitting(gpu_memory_gb, live_engine=live_engine)
        groups = {"auto": chosen, "all": [chosen[0], *(n for n in real if n != chosen[0])]}
        if "auto" in names:
            log.info("auto: %s, which fit the GPU's %.1f GiB", ", ".join(chosen), gpu_memory_gb)
    groups["demo"] = [m.id for m in known.values() if m.demo]
    resolved: dict[str, None] = {}
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(f"{name!r} is not a model; known: {', '.join([*groups, *known])}")
        if left_out and name in ("auto", "all"):
            log.info("%s: no CUDA GPU, so %s are left out; name one to run it on the CPU", name, ", ".join(left_out))
        resolved.update(dict.fromkeys(groups.get(name, [name])))
    return tuple(resolved)


def _fitting(gpu_memory_gb: float, *, live_engine: bool) -> list[str]:
    """The best of what `auto` may take that the GPU has room for; the last where it has room for none."""
    for least_gb, names in _ON_GPU:
        if gpu_memory_gb >= least_gb:
            try:
                gpu.shares([catalog.models()[name] for name in names], gpu_memory_gb, live_engine=live_engine)
            except ValueError as too_large:
                log.info("auto passes over what doesn't fit: %s", too_large)
            else:
                return list(names)
    log.warning("auto: nothing is known to fit the GPU's %.1f GiB", gpu_memory_gb)
    return list(_ON_GPU[-1][1])
