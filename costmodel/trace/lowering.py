"""Composite ops that are recorded as the one core op which they are: no second dispatch, whatever the device.

The tracer sees composite ops undecomposed. One that has a rule of its own (``aten.linear``, attention, an LSTM) is
recorded as it is; one in this table as its core op; any other is decomposed by torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from costmodel.graph import Arguments, TensorSpec, is_channels_last


@dataclass(frozen=True, slots=True)
class Lowering:
    """A composite op's way to its core op."""

    core: str
    """The op that is recorded."""
    arguments: Callable[[Arguments], Arguments | None]
    """Its arguments, from the composite's; ``None`` where this call must be decomposed by torch after all."""
    passes: Callable[[Arguments], bool] | None = None
    """Whether the call does nothing and returns its first argument."""


def _convolution(axes: int, transposed: bool) -> Callable[[Arguments], Arguments | None]:
    zeros = [0] * axes

    def arguments(a: Arguments) -> Arguments | None:
        if len(a["input"].shape) != axes + 2:
            return None  # without a batch dimension: torch unsqueezes
        return {
            "input": a["input"],
            "weight": a["weight"],
            "bias": a["bias"],
            "stride": a["stride"],
            "padding": a["padding"],
            "dilation": a["dilation"],
            "transposed": transposed,
            "output_padding": a["output_padding"] if transposed else zeros,
            "groups": a["groups"],
        }

    return arguments


def _without(*names: str) -> Callable[[Arguments], Arguments]:
    return lambda a: {k: v for k, v in a.items() if k not in names}


def _group_norm(a: Arguments) -> Arguments | None:
    x: TensorSpec = a["input"]
    if x.strides is not None and not is_channels_last(x):
        return None  # torch makes it contiguous first
    return {
        "input": x,
        "weight": a["weight"],
        "bias": a["bias"],
        "N": x.shape[0],
        "C": x.shape[1],
        "HxW": prod(x.shape[2:]),
        "group": a["num_groups"],
        "eps": a["eps"],
    }


def _softmax(a: Arguments) -> Arguments | None:
    if a["dtype"] not in (None, a["self"].dtype):
        return None
    return {"self": a["self"], "dim": a["dim"], "half_to_float": False}


def _flatten(a: Arguments) -> Arguments | None:
    x: TensorSpec = a["self"]
    rank = len(x.shape)
    if x.strides is not None or rank == 0:
        return None  # it may have to be copied
    first, last = a["start_dim"] % rank, a["end_dim"] % rank
    if first >= last:
        return None
    return {"self": x, "size": [*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :]]}


def _reshape(a: Arguments) -> Arguments | None:
    return None if a["self"].strides is not None else {"self": a["self"], "size": a["shape"]}


def _same(a: Arguments) -> Arguments:
    return a


def _dropout_is_idle(a: Arguments) -> bool:
    return not a["train"] or a["p"] == 0 or a["input"].size == 0


LOWERINGS: Mapping[str, Lowering] = {
    **{f"aten.conv{n}d.default": Lowering("aten.convolution.default", _convolution(n, False)) for n in (1, 2, 3)},
    **{
        f"aten.conv_transpose{n}d.{overload}": Lowering("aten.convolution.default", _convolution(n, True))
        for n, overload in ((1, "default"), (2, "input"), (3, "input"))
    },
    **{  # as torch.jit.trace writes a convolution down
        f"aten._convolution.{overload}": Lowering(
            "aten.convolution.default", _without("benchmark", "deterministic", "cudnn_enabled", "allow_tf32")
        )
        for overload in ("default", "deprecated")
    },
    "aten.batch_norm.default": Lowering("aten.native_batch_norm.default", _without("cudnn_enabled")),
    "aten.layer_norm.default": Lowering("aten.native_layer_norm.default", _without("cudnn_enable")),
    "aten.group_norm.default": Lowering("aten.native_group_norm.default", _group_norm),
    "aten.softmax.int": Lowering("aten._softmax.default", _softmax),
    "aten.log_softmax.int": Lowering("aten._log_softmax.default", _softmax),
    "aten.adaptive_avg_pool2d.default": Lowering("aten._adaptive_avg_pool2d.default", _same),
    "aten.adaptive_avg_pool3d.default": Lowering("aten._adaptive_avg_pool3d.default", _same),
    "aten.flatten.using_ints": Lowering("aten.view.default", _flatten),
    "aten.reshape.default": Lowering("aten.view.default", _reshape),
    "aten.dropout.default": Lowering("aten.native_dropout.default", _same, passes=_dropout_is_idle),
}
