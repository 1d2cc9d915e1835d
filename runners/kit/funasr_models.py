"""Builds FunASR models from a hub-layout directory, without FunASR's AutoModel.

AutoModel runs one utterance at a time on a CPU. Only the modules of the wanted model are imported;
classes, configuration and weights are FunASR's.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from runners.kit.bare import import_bare
from runners.store import checkpoint_name

log = logging.getLogger(__name__)

# A class's registered name -> the modules of funasr.models that it and its configurations need: a family says which
# classes its engine runs.
Modules = Mapping[str, Sequence[str]]
_NOT_ARGUMENTS = ("model", "frontend", "tokenizer", "specaug", "specaug_conf")


class UnsupportedModelError(ValueError):
    """A model directory is incomplete or of a class that no engine here runs."""


@dataclass(frozen=True)
class ModelDirectory:
    """Reads a FunASR model directory: ``config.yaml``, weights, and where they exist tokens and CMVN statistics.

    Attributes:
        path: The directory.
        config: What config.yaml holds.
        tokens: What tokens.json lists, by id; empty where there is none.
    """

    path: Path
    config: dict[str, Any]
    tokens: list[str]

    @classmethod
    def read(cls, path: Path) -> ModelDirectory:
        """Reads the configuration and the tokens; weights and statistics are left for later.

        Raises:
            UnsupportedModelError: config.yaml cannot be read.
        """
        try:
            config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UnsupportedModelError(f"{path}: config.yaml cannot be read: {error}") from error
        tokens_file = path / "tokens.json"
        tokens = json.loads(tokens_file.read_text(encoding="utf-8")) if tokens_file.exists() else []
        return cls(path, config, tokens)

    @property
    def model_class(self) -> str:
        """Returns the registered name of the model's class."""
        return str(self.config["model"])

    @property
    def weights(self) -> Path:
        """Returns the checkpoint that ``configuration.json`` names (the hub's CAM++ isn't ``model.pt``)."""
        return self.path / checkpoint_name(self.path)

    def cmvn(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads (shift, scale), each of the stacked feature dimension: ``(x + shift) * scale`` normalises features."""
        lines = (self.path / "am.mvn").read_text(encoding="utf-8").splitlines()
        rows = [line.split()[3:-1] for line in lines if line.startswith("<LearnRateCoef>")]
        shift, scale = (torch.tensor([float(v) for v in row]) for row in rows)
        return shift, scale

    def build(self, modules: Modules, *, load_weights: bool = True, **overrides: Any) -> torch.nn.Module:
        """Builds the model in evaluation mode, in float32 whatever the file's precision.

        ``overrides`` replace entries of the configuration (training builds models this way).

        Raises:
            UnsupportedModelError: its class is none of ``modules``, or the checkpoint lacks parameters.
        """
        if self.model_class not in modules:
            raise UnsupportedModelError(f"{self.path}: {self.model_class} is not {' or '.join(modules)}")
        config = {**self.config, **overrides}
        frontend = config.get("frontend_conf", {})
        input_size = frontend.get("n_mels", 80) * frontend.get("lfr_m", 1)
        arguments = {**config, **config.get("model_conf", {}), "vocab_size": len(self.tokens), "input_size": input_size}
        # features, text and training-time augmentation are not the model's business here
        arguments = {k: v for k, v in arguments.items() if k not in _NOT_ARGUMENTS}
        model: torch.nn.Module = model_class(self.model_class, modules)(**arguments)
        if load_weights:
            load_weights_into(model, self.weights)
        return model.eval()


def model_class(name: str, modules: Modules) -> Any:
    """FunASR's class of that registered name, with the components that its configurations refer to."""
    import_bare("funasr")
    for module in modules[name]:
        importlib.import_module(f"funasr.models.{module}")
    return importlib.import_module("funasr.register").tables.model_classes[name]


def load_weights_into(model: torch.nn.Module, path: Path) -> None:
    """Loads a checkpoint file, of which parameters that the model doesn't have are ignored.

    Raises:
        UnsupportedModelError: a parameter of the model is not in it.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        state = state.get(wrapper, state)
    state = {k.removeprefix("module."): v for k, v in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing:
        raise UnsupportedModelError(f"{path}: {len(missing)} parameters are missing, the first: {missing[0]}")
    if unexpected:
        log.debug("%s: %d parameters unused", path, len(unexpected))
