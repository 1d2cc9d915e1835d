"""Computes linear layers in fewer bits: reading and multiplying weights is what a large model's small step costs."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "int8"]


class Int8Linear(torch.nn.Module):
    """Multiplies 8-bit integers, float32 in and out; each row of the input and of the weights has its own scale.

    So, unlike in torch's dynamic quantisation, a row's result doesn't depend on the other rows of its batch.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.out_features = linear.out_features
        self._scale = weight.abs().amax(1) / 127
        self._weight = torch.round(weight / self._scale[:, None]).to(torch.int8).t()
        self._bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turns (…, inputs) into (…, outputs), as the layer that it was made from."""
        rows = x.flatten(0, -2)
        scale = rows.abs().amax(1, keepdim=True).div_(127).clamp_min_(1e-9)
        products = torch._int_mm(torch.mul(rows, scale.reciprocal()).round_().to(torch.int8), self._weight)
        return torch.addcmul(self._bias, products * scale, self._scale).reshape(*x.shape[:-1], self.out_features)


def fastest_precision(device: str) -> Precision:
    """Chooses the arithmetic that costs least on this machine without changing what is recognised."""
    if device != "cpu":
        return "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "int8"


def with_precision(module: torch.nn.Module, precision: Precision) -> None:
    """Converts the module's linear layers in place; those in bf16 expect bfloat16 and give it."""
    for name, child in module.named_children():
        if not isinstance(child, torch.nn.Linear):
            with_precision(child, precision)
        elif precision == "bf16":
            child.bfloat16()
        elif precision == "int8":
            setattr(module, name, Int8Linear(child))
