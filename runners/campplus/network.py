"""Computes CAM++'s forward pass from FunASR's weights in a third of its time on a CPU.

The same arithmetic as ``funasr.models.campplus`` for windows of up to 2 s: normalisations folded into the
layer before them, 1-D convolutions as matrix products over (window, time, channel), the densely connected
blocks in one buffer instead of copies that grow with every layer, bfloat16 where the CPU computes with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.fusion import fuse_conv_bn_eval

# The gates see averages over 100 frames of 20 ms; up to that length, that is the average over the window.
LONGEST_FRAMES = 200


class _Affine(NamedTuple):
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, norm: Any) -> _Affine:
        """Makes of a batch normalisation what it does once it is trained."""
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        return cls(scale, (norm.bias if norm.affine else 0.0) - norm.running_mean * scale)


class _Layer(NamedTuple):
    """Holds a densely connected layer: normalise, narrow, convolve in time, gate by the context."""

    enter: _Affine
    narrow: _Affine
    local: Tensor  # (taps * growth, narrow)
    taps: int
    dilation: int
    context: _Affine
    gate: _Affine


class _Block(NamedTuple):
    layers: list[_Layer]
    leave: _Affine
    transit: Tensor


class Network:
    """Turns (windows, frames, 80) mean-free log-mel energies into (windows, embedding size) vectors."""

    def __init__(self, model: Any, device: str, dtype: torch.dtype) -> None:
        """Takes FunASR's CAMPPlus in evaluation mode as ``model``."""
        self._device, self._dtype = device, dtype
        head, xvector = model.head, model.xvector
        self._first = self._conv2d(head.conv1, head.bn1)
        self._residual = [
            (
                self._conv2d(layer.conv1, layer.bn1),
                self._conv2d(layer.conv2, layer.bn2),
                self._conv2d(*layer.shortcut) if len(layer.shortcut) else nn.Identity(),
            )
            for layer in (*head.layer1, *head.layer2)
        ]
        self._last = self._conv2d(head.conv2, head.bn2)
        tdnn = fuse_conv_bn_eval(xvector.tdnn.linear, xvector.tdnn.nonlinear.batchnorm)
        self._tdnn = tdnn.to(device=device, dtype=dtype)
        self._blocks = [self._block(getattr(xvector, f"block{i}"), getattr(xvector, f"transit{i}")) for i in (1, 2, 3)]
        self._leave = self._cast(_Affine.of(xvector.out_nonlinear.batchnorm))
        scale, shift = _Affine.of(xvector.dense.nonlinear.batchnorm)
        weight = xvector.dense.linear.weight[:, :, 0] * scale[:, None]
        self._dense = _Affine(weight.detach().float().to(device), shift.detach().float().to(device))

    def __call__(self, features: Tensor) -> Tensor:
        """Computes the vectors, in float32."""
        x = self._tdnn(self._head(features)).relu_().transpose(1, 2)
        for block in self._blocks:
            x = self._run(block, x)
        x = torch.addcmul(self._leave.bias, x, self._leave.weight).relu_().float()
        return linear(torch.cat([x.mean(1), x.std(1)], -1), *self._dense)

    def _head(self, features: Tensor) -> Tensor:
        x = features.to(self._device, self._dtype).transpose(1, 2)[:, None]
        x = self._first(x.contiguous(memory_format=torch.channels_last)).relu_()
        for first, second, shortcut in self._residual:
            x = second(first(x).relu_()).add_(shortcut(x)).relu_()
        encoded: Tensor = self._last(x).relu_()
        return encoded.flatten(1, 2)

    @staticmethod
    def _run(block: _Block, x: Tensor) -> Tensor:
        windows, frames, width = x.shape
        growth = len(block.layers[0].gate.bias)
        dense = x.new_empty(windows, frames, width + growth * len(block.layers))
        dense[..., :width] = x
        for layer in block.layers:
            h = torch.addcmul(layer.enter.bias, dense[..., :width], layer.enter.weight).relu_()
            h = linear(h, *layer.narrow).relu_()
            taps = linear(h, layer.local).view(windows, frames, layer.taps, growth)
            middle = layer.taps // 2
            local = taps[:, :, middle].clone()
            for tap in range(layer.taps):
                shift = (tap - middle) * layer.dilation
                if shift < 0:
                    local[:, -shift:] += taps[:, :shift, tap]
                elif shift > 0:
                    local[:, :-shift] += taps[:, shift:, tap]
            context = 2 * h.mean(1)  # of the window, plus of its only stretch of 100 frames
            gate = linear(linear(context, *layer.context).relu_(), *layer.gate).sigmoid_()
            torch.mul(local, gate[:, None], out=dense[..., width : width + growth])
            width += growth
        return linear(torch.addcmul(block.leave.bias, dense, block.leave.weight).relu_(), block.transit)

    def _block(self, layers: Any, transit: Any) -> _Block:
        return _Block(
            [self._layer(layer) for layer in layers],
            self._cast(_Affine.of(transit.nonlinear.batchnorm)),
            self._matrix(transit.linear),
        )

    def _layer(self, layer: Any) -> _Layer:
        narrow = fuse_conv_bn_eval(layer.linear1, layer.nonlinear2.batchnorm)
        cam = layer.cam_layer
        local = cam.linear_local.weight  # (growth, narrow, taps)
        return _Layer(
            enter=self._cast(_Affine.of(layer.nonlinear1.batchnorm)),
            narrow=self._cast(_Affine(narrow.weight[:, :, 0], narrow.bias)),
            local=self._tensor(local.permute(2, 0, 1).flatten(0, 1)),
            taps=local.shape[2],
            dilation=int(cam.linear_local.dilation[0]),
            context=self._cast(_Affine(cam.linear1.weight[:, :, 0], cam.linear1.bias)),
            gate=self._cast(_Affine(cam.linear2.weight[:, :, 0], cam.linear2.bias)),
        )

    def _conv2d(self, conv: Any, norm: Any) -> nn.Module:
        fused: nn.Module = fuse_conv_bn_eval(conv, norm)
        fused.to(device=self._device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fused

    def _cast(self, affine: _Affine) -> _Affine:
        return _Affine(*map(self._tensor, affine))

    def _matrix(self, conv: Any) -> Tensor:
        return self._tensor(conv.weight[:, :, 0])

    def _tensor(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self._device, self._dtype).contiguous()
