"""The roofline: the least time that a device needs for each layer. A lower bound, not a prediction.

A kernel that computes F FLOPs and moves Q bytes needs at least max(F / peak, Q / bandwidth), as if the device reached
both peaks, overlapped them perfectly and launched kernels for free. The *unfused* bound takes every op as a kernel of
its own, as eager torch runs it; the *fused* one the kernels of ``costmodel.fusion``. A fused kernel's time is shared
out by what limits it: an op's part is its FLOPs where the kernel waits for arithmetic, and its part of the kernel's
traffic where it waits for memory. Neither is more than the op alone needs, so the fused bound of a layer, and of the
model, is never above the unfused one. Two things can be faster than the bound: a run whose tensors stay in a cache, for
every byte is taken to come from the device's memory; and an algorithm that computes less than the definition, such as
Winograd's for convolutions.

Products of float32 tensors have the device's float32 peak. With ``math="tf32"`` they have that of TF32, where a device
has one: cuDNN's convolutions round to it by torch's default (``torch.backends.cudnn.allow_tf32``), matrix products if
``torch.set_float32_matmul_precision`` allows it.

Source: Williams, Waterman & Patterson, Roofline, Communications of the ACM 52 (2009).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from costmodel.devices import MATHS, Device
from costmodel.errors import InputError
from costmodel.fusion import Fusion
from costmodel.pricing import PricedOp, Pricing
from costmodel.rendering import Rendered

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class LayerBound:
    """The lower bound of one layer's time."""

    name: str
    type: str
    kind: str
    macs: int
    flops: int
    nbytes: int
    """Bytes moved, every op a kernel of its own."""
    intensity: float
    """FLOPs per byte: its x in the plot."""
    attainable: float
    """FLOP/s that the roof allows at this intensity: its y in the plot."""
    bound: Literal["compute", "memory"]
    """Which of the two limits the layer for the greater part of its time."""
    time: float
    """Seconds, at least, with every op a kernel of its own."""
    fused_time: float
    """Seconds, at least, as the layer's part of fused kernels; never more than ``time``."""
    peak: str
    """The peak of the device that bounds most of its arithmetic: a dtype, or ``tf32``."""


@dataclass(frozen=True, repr=False)
class Roofline(Rendered):
    """A model on a device: for each layer, and in total, the least time."""

    view: ClassVar[str] = "roofline"

    model: str
    device: Device
    layers: tuple[LayerBound, ...]
    dtype: str
    """The dtype of most of the arithmetic, whose roof a figure draws."""
    math: str = "float32"
    """How products of float32 tensors are computed: ``float32``, or ``tf32``."""

    @cached_property
    def time(self) -> float:
        """A lower bound of the forward's seconds, every op a kernel of its own."""
        return sum(layer.time for layer in self.layers)

    @cached_property
    def fused_time(self) -> float:
        """A lower bound of the forward's seconds with elementwise ops fused."""
        return sum(layer.fused_time for layer in self.layers)

    @property
    def peak(self) -> float:
        """FLOP/s of the flat part of the roof."""
        return self.device.rate(self.dtype, self.math)

    @property
    def peak_name(self) -> str:
        """Which of the device's peaks that is: a dtype, or ``tf32``."""
        return self.device.peak_of(self.dtype, self.math)

    @property
    def sources(self) -> dict[str, tuple[float, str]]:
        """The figures that the bound is made of, FLOP/s of each peak and bytes/s, with their sources."""
        named = dict.fromkeys([self.peak_name, *(layer.peak for layer in self.layers if layer.flops)])
        peaks = {name: (self.device.peak[name], self.device.sources.get(name, "")) for name in named}
        return peaks | {"bandwidth": (self.device.bandwidth, self.device.sources.get("bandwidth", ""))}

    @property
    def ridge(self) -> float:
        """FLOPs per byte where the roof turns flat."""
        return self.device.ridge(self.dtype, self.math)

    @property
    def rows(self) -> pd.DataFrame:
        """A row per layer, one column for each field of ``LayerBound``."""
        import pandas as pd

        names = list(LayerBound.__dataclass_fields__)
        return pd.DataFrame([[getattr(layer, name) for name in names] for layer in self.layers], columns=names)

    def to_markdown(self, limit: int = 20) -> str:
        """The layers with the greatest least time, and the total, as Markdown."""
        return self._render("markdown", limit=limit)


def roofline(pricing: Pricing, fusion: Fusion, device: Device, math: str = "float32") -> Roofline:
    """The lower bound of every layer's time on a device. Raises ``InputError`` for TF32 on a device without it."""
    if not isinstance(math, str) or math not in MATHS:
        raise InputError(f"math={math!r}: products of float32 are computed in {' or '.join(MATHS)}")
    if math == "tf32" and "tf32" not in device.peak:
        raise InputError(f"{device.title} has no peak of TF32; its peaks are of {', '.join(device.peak)}")
    fused = _fused_times(fusion, device, math)
    layers = []
    for layer in pricing.layers:
        times = {"compute": 0.0, "memory": 0.0}
        time = fused_time = 0.0
        # Both are added up in the same order: rounded sums of terms that are not greater are not greater.
        for op in layer.ops:
            compute, memory = _compute_time(op, device, math), op.traffic.bytes / device.bandwidth
            times["compute" if compute > memory else "memory"] += max(compute, memory)
            time += max(compute, memory)
            fused_time += fused.get(op.call.index, 0.0)
        work, nbytes, peak = layer.work, int(layer.traffic.bytes), _peak_of(layer.ops, device, math)
        intensity = work.flops / nbytes if nbytes else 0.0
        layers.append(
            LayerBound(
                name=layer.name,
                type=layer.type,
                kind=layer.kind,
                macs=int(work.macs),
                flops=int(work.flops),
                nbytes=nbytes,
                intensity=intensity,
                attainable=min(device.peak[peak], intensity * device.bandwidth),
                bound="compute" if times["compute"] > times["memory"] else "memory",
                time=time,
                fused_time=fused_time,
                peak=peak,
            )
        )
    return Roofline(pricing.graph.model, device, tuple(layers), _dtype_of(pricing.ops), math)


def _fused_times(fusion: Fusion, device: Device, math: str) -> dict[int, float]:
    """Each op's part of its kernel's least time, by the op's index."""
    found = {}
    for kernel in fusion.kernels:
        computes = [_compute_time(op, device, math) for op in kernel.ops]
        waits_for_arithmetic = sum(computes) > kernel.traffic.bytes / device.bandwidth
        for op, compute in zip(kernel.ops, computes, strict=True):
            index = op.call.index
            found[index] = compute if waits_for_arithmetic else fusion.op_traffic[index].bytes / device.bandwidth
    return found


def _compute_time(op: PricedOp, device: Device, math: str) -> float:
    return float(op.work.flops / device.peak[_peak(op, device, math)])


def _peak(op: PricedOp, device: Device, math: str) -> str:
    # Elementwise arithmetic does not run on tensor cores, and is not rounded to TF32.
    return device.peak_of(op.dtype, math if op.work.macs else "float32")


def _peak_of(ops: Iterable[PricedOp], device: Device, math: str) -> str:
    """The peak that bounds most of some ops' arithmetic."""
    return _most({device.peak_of("float32"): 0}, ((_peak(op, device, math), op.work.flops) for op in ops))


def _dtype_of(ops: Iterable[PricedOp]) -> str:
    """The dtype in which most of some ops' arithmetic is done."""
    return _most({"float32": 0}, ((op.dtype, op.work.flops) for op in ops))


def _most(sums: dict[str, int], parts: Iterable[tuple[str, int]]) -> str:
    for name, flops in parts:
        sums[name] = sums.get(name, 0) + flops
    return max(sums, key=sums.__getitem__)
