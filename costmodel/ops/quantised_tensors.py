"""To and from quantised tensors; their normalisation and pooling; packing of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from costmodel.access import AccessMap, Affine, sliding
from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops.access import everything, nothing
from costmodel.ops.normalisation import standardised
from costmodel.ops.pooling import grid
from costmodel.ops.quantisation import DEQUANTISED, QUANTISED, quantised_rule, range_of
from costmodel.ops.quantised_elementwise import of_output
from costmodel.ops.rule import Torch, free, moved, no_work, register_quantised
from costmodel.ops.temporaries import copy
from costmodel.quantities import Traffic, Work

# -- between real numbers and integers ----------------------------------------------------------------------------


def _of_outputs(work: Work) -> Callable[[OpCall], Work]:
    return lambda call: work.times(sum(y.size for y in call.outputs))


def _is_quantised(t: TensorSpec) -> bool:
    return t.dtype.startswith("q")


def _dequantise(call: OpCall) -> Work:
    # What is not quantised is cast, which is no arithmetic.
    return sum((DEQUANTISED.times(t.size) for _, t in call.tensors() if _is_quantised(t)), Work())


def _dequantise_traffic(call: OpCall) -> Traffic:
    """A float32 tensor is returned as it is."""
    changed = [t for _, t in call.tensors() if t.dtype != "float32"]
    return moved(changed, call.outputs) if changed else Traffic()


def _range(call: OpCall) -> Work:
    return range_of(call.args["self"])


def _q(*names: str, outputs: Torch, because: str) -> None:
    targets = tuple(f"aten.{name}" for name in names)
    register_quantised(
        free(*targets, because=because, kind="view", outputs=outputs, access=nothing, examples=())
    )  # fmt: skip


register_quantised(
    quantised_rule(
        "aten.quantize_per_tensor.default", "aten.quantize_per_tensor.tensor_qparams",
        "aten.quantize_per_tensor.tensors", "aten.quantize_per_channel.default", kind="other",
        work=_of_outputs(QUANTISED),
    ),
    quantised_rule(
        "aten.quantize_per_tensor_dynamic.default", kind="other", fusible=False, access=everything,
        work=lambda call: range_of(call.args["self"]) + QUANTISED.times(call.args["self"].size),
    ),
    quantised_rule(
        "aten._choose_qparams_per_tensor.default", kind="other", fusible=False, access=everything, work=_range,
        outputs=Torch.META,
    ),
    quantised_rule(
        "aten.dequantize.self", "aten.dequantize.tensors", kind="other", work=_dequantise,
        traffic=_dequantise_traffic, outputs=Torch.META,
    ),
    quantised_rule(
        "aten.int_repr.default", "aten._make_per_tensor_quantized_tensor.default",
        "aten._make_per_channel_quantized_tensor.default", kind="other", work=no_work,
    ),
)  # fmt: skip
_q(
    "q_scale.default",
    "q_zero_point.default",
    "q_per_channel_axis.default",
    "qscheme.default",
    outputs=Torch.VALUE,
    because="read off the tensor's own record, not its values",
)
_q(
    "q_per_channel_scales.default",
    "q_per_channel_zero_points.default",
    outputs=Torch.META,
    because="the tensor's own scales and zero points, as they are stored",
)
_q(
    "_empty_affine_quantized.default",
    "_empty_per_channel_affine_quantized.default",
    "empty_quantized.default",
    outputs=Torch.META,
    because="memory is allocated, and nothing written",
)

# -- normalisation ------------------------------------------------------------------------------------------------

_BATCH_NORM = Work(adds=3, multiplies=1, compares=2)
"""a (q - z) + b, plus the output's zero point, clamped: a and b have the scales in them. A ReLU is the lower clamp."""


def _norm_work(groups: Callable[[OpCall], int]) -> Callable[[OpCall], Work]:
    """Integers less their mean times the inverse deviation, weight and bias, and the result to the output's grid."""

    def work(call: OpCall) -> Work:
        y, args = call.outputs[0], call.args
        of = groups(call)
        affine = Work(multiplies=args["weight"] is not None, adds=args["bias"] is not None)
        return standardised(groups=of, n=y.size // of) + (affine + QUANTISED).times(y.size)

    return work


def _rows(call: OpCall) -> int:
    return prod(call.args["input"].shape[: -len(call.args["normalized_shape"])])


def _in_channels_last(args: Arguments) -> list[TensorSpec]:
    x: TensorSpec = args["qx"] if "qx" in args else args["input"]
    return [] if is_channels_last(x) or len(x.shape) < 4 else [copy(x)]


def _positions(name: str, call: OpCall) -> AccessMap:
    return {name: tuple(map(Affine, range(len(call.args[name].shape))))}


def _image_access(call: OpCall, output: int) -> AccessMap:
    return {name: maps for name, maps in everything(call, output).items() if name == "input"}


register_quantised(
    quantised_rule(
        *(f"quantized.batch_norm{n}{relu}.default" for n in ("", "1d", "2d", "3d") for relu in ("", "_relu")),
        "aten.quantized_batch_norm.default", kind="norm", work=of_output(_BATCH_NORM),
        temporaries=_in_channels_last,
        access=lambda call, output: _positions("qx" if "qx" in call.args else "input", call),
    ),
    quantised_rule(
        "quantized.layer_norm.default", kind="norm", work=_norm_work(_rows), access=_image_access, fusible=False
    ),
    quantised_rule(
        "quantized.group_norm.default", kind="norm", access=_image_access, fusible=False,
        work=_norm_work(lambda call: call.args["input"].shape[0] * call.args["num_groups"]),
    ),
    quantised_rule(
        "quantized.instance_norm.default", kind="norm", access=_image_access, fusible=False,
        work=_norm_work(lambda call: prod(call.args["input"].shape[:2])),
    ),
)  # fmt: skip


# -- pooling ------------------------------------------------------------------------------------------------------


def _max_pool_work(axes: int) -> Callable[[OpCall], Work]:
    return lambda call: Work(compares=prod(k for k, *_ in grid(call.args, axes)) - 1).times(call.outputs[0].size)


def _max_pool_access(axes: int) -> Callable[[OpCall, int], AccessMap]:
    def access(call: OpCall, output: int) -> AccessMap:
        before = len(call.outputs[0].shape) - axes
        windows = enumerate(grid(call.args, axes), before)
        taps = (sliding(d, size=k, stride=s, pad=p, dilation=dilation) for d, (k, s, p, dilation) in windows)
        return {"self" if "self" in call.args else "qx": (*map(Affine, range(before)), *taps)}

    return access


for _axes in (1, 2, 3):
    _own = () if _axes == 3 else (f"quantized.max_pool{_axes}d.default",)
    register_quantised(
        quantised_rule(
            *_own, f"aten.quantized_max_pool{_axes}d.default", kind="pool", work=_max_pool_work(_axes),
            access=_max_pool_access(_axes), fusible=False,
        )
    )  # fmt: skip

# -- packing ------------------------------------------------------------------------------------------------------


def _packed(call: OpCall) -> Traffic:
    """Copied into another order of as many bytes."""
    given = [t for _, t in call.tensors()]
    return moved(given, given)


_CONVS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
register_quantised(
    replace(
        quantised_rule(
            *(f"quantized.{name}_prepack.default" for name in (*_CONVS, "linear", "conv", "embedding_bag")),
            "quantized.linear_prepack_fp16.default", kind="other", work=no_work, traffic=_packed, access=nothing,
            outputs=Torch.META,
        ),
        fusible=False,
    ),
    quantised_rule(
        *(f"quantized.{name}_unpack.default" for name in (*_CONVS, "linear", "conv", "embedding_bag")),
        "quantized.linear_unpack_fp16.default", kind="other", work=no_work,
        traffic=lambda call: moved(call.outputs, call.outputs), access=nothing, outputs=Torch.META, fusible=False,
    ),
    free(
        *(
            f"quantized.{name}_{what}.default"
            for name in ("conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d")
            for what in ("stride", "padding", "output_padding", "dilation", "groups", "transpose")
        ),
        because="a number of the packed convolution", kind="view", outputs=Torch.VALUE, access=nothing, examples=(),
    ),
)  # fmt: skip
