"""Writes `.env.example` from the settings: every variable with its description and default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from runners.catalog import PROJECT_ROOT
from scripts.serve import LaunchSettings
from service.settings import Settings

_HEADER = """\
# Every setting of the service, with its default. Copy to `.env`, or set as environment variables (which win).
# Made by `.venv/bin/python -m scripts.env_example`.
"""
_SHOWN = {"max_audio_size": "2GB", "jobs_max_storage": "100GB"}  # where the default is not written as it is held


def default_text(name: str, field: FieldInfo) -> str:
    """Returns a field's default as one writes it in the environment."""
    if name in _SHOWN:
        return _SHOWN[name]
    value = field.default
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def render() -> str:
    """Returns the file's text."""
    launch = {name: field for name, field in LaunchSettings.model_fields.items() if name not in Settings.model_fields}
    return (
        _HEADER
        + _section("The service", Settings.model_fields.items())
        + _section("`make serve`, which also takes ENABLED_MODELS=demo for its default", launch.items())
    )


def _section(title: str, fields: Iterable[tuple[str, FieldInfo]]) -> str:
    text = f"\n## {title}\n"
    for name, field in fields:
        lines = textwrap.wrap(field.description or "", 110, break_on_hyphens=False)
        text += "\n" + "".join(f"# {line}\n" for line in lines) + f"#{name.upper()}={default_text(name, field)}\n"
    return text


def main() -> None:
    """Writes the file."""
    (PROJECT_ROOT / ".env.example").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
