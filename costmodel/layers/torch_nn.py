"""The layers of ``torch.nn`` but those for sequences: the hyper-parameters of each, and the formula that takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from costmodel import formulas as f
from costmodel.graph import TensorSpec, is_channels_last
from costmodel.layers.names import ClassName, nn
from costmodel.layers.registry import Call, Formula, add, given_again
from costmodel.machine import torch_release

if TYPE_CHECKING:
    from costmodel.formulas import BackwardCost, LayerCost, Needs


def _spatial(call: Call, axes: int) -> tuple[int, tuple[int, ...], bool]:
    """(batch, size, whether the input had no batch dimension) of an input (batch, channels, *size)."""
    shape = call.shape
    if len(shape) == axes + 1:
        return 1, shape[1:], True
    return shape[0], shape[2:], False


def batched(axes: int, formula: Callable[[Call, int, tuple[int, ...]], LayerCost]) -> Formula:
    """Takes an input without a batch dimension as a batch of one, as torch does."""

    def cost_of(call: Call) -> LayerCost:
        batch, size, unbatched = _spatial(call, axes)
        cost = formula(call, batch, size)
        return replace(cost, output_shape=cost.output_shape[1:]) if unbatched else cost

    return cost_of


def _conv(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.conv(
        c_in=call["in_channels"], c_out=call["out_channels"], kernel=call["kernel_size"], size=size,
        stride=call["stride"], padding=call["padding"], dilation=call["dilation"], groups=call["groups"],
        bias=call["bias"], batch=batch, padding_mode=call["padding_mode"], complex_valued=call.complex_valued,
    )  # fmt: skip


def _conv_transpose(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    output_padding = call["output_padding"]
    wanted = call.given.get("output_size")
    if wanted is not None:
        # output_padding 0 gives the least output; what is asked for beyond it is the output padding.
        least = f.conv_transpose(
            c_in=call["in_channels"], c_out=call["out_channels"], kernel=call["kernel_size"], size=size,
            stride=call["stride"], padding=call["padding"], dilation=call["dilation"], groups=call["groups"],
        ).output_size  # fmt: skip
        output_padding = tuple(n - m for n, m in zip(wanted[-len(size) :], least, strict=True))
    return f.conv_transpose(
        c_in=call["in_channels"], c_out=call["out_channels"], kernel=call["kernel_size"], size=size,
        stride=call["stride"], padding=call["padding"], output_padding=output_padding, dilation=call["dilation"],
        groups=call["groups"], bias=call["bias"], batch=batch, complex_valued=call.complex_valued,
    )  # fmt: skip


_CONV = "in_channels out_channels kernel_size stride padding dilation groups padding_mode"
_DIMENSIONS: tuple[tuple[ClassName, ...], ...] = (
    (nn.Conv1d, nn.ConvTranspose1d, nn.InstanceNorm1d),
    (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d),
    (nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d),
)
for _axes, (_plain, _transposed, _) in enumerate(_DIMENSIONS, start=1):
    add(_plain, hyper=_CONV, optional_params="weight bias", formula=batched(_axes, _conv))
    add(
        _transposed, hyper=f"{_CONV} output_padding", optional_params="weight bias", takes="input output_size",
        formula=batched(_axes, _conv_transpose),
    )  # fmt: skip


def _bilinear(call: Call) -> LayerCost:
    cost = f.bilinear(
        in1_features=call["in1_features"], in2_features=call["in2_features"], out_features=call["out_features"],
        bias=call["bias"], rows=call.shape[:-1], complex_valued=call.complex_valued,
    )  # fmt: skip
    if not call.given_again:
        return cost
    return given_again(call, cost, partial(_of_one_tensor, cost.backward))


def _of_one_tensor(backward: Callable[..., BackwardCost], needs: Needs) -> BackwardCost:
    """Of a bilinear layer both of whose inputs are one tensor, which is kept once."""
    cost = backward(inputs=needs.any_input, weight=needs.weight, bias=needs.bias)
    return replace(cost, saved=tuple(f.Saved("input", kept.elements) for kept in cost.saved[:1]))


add(
    nn.Bilinear, hyper="in1_features in2_features out_features", optional_params="weight bias", formula=_bilinear,
    takes="input1 input2",
)  # fmt: skip


def _batch_norm(call: Call) -> LayerCost:
    batch, channels, *size = call.shape
    cost = f.batch_norm(
        channels=channels, size=tuple(size), batch=batch, affine=call["weight"], bias=call["bias"],
        training=call.training, track_running_stats=call["track_running_stats"],
    )  # fmt: skip
    if call["momentum"] is None and call["track_running_stats"] and call.training:
        return replace(cost, read=cost.read + 1)  # the cumulative average looks at the number of batches
    return cost


def _instance_norm(axes: int) -> Formula:
    def formula(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
        return f.instance_norm(
            channels=call.shape[-axes - 1], size=size, batch=batch, affine=call["weight"], bias=call["bias"],
            training=call.training, track_running_stats=call["track_running_stats"],
        )  # fmt: skip

    return batched(axes, formula)


def _layer_norm(call: Call) -> LayerCost | None:
    normalized = call["normalized_shape"]
    if 0 in normalized:
        return None
    return f.layer_norm(
        normalized_shape=normalized, rows=call.shape[: -len(normalized)], affine=call["weight"], bias=call["bias"]
    )


def _group_norm(call: Call) -> LayerCost:
    (x,) = call.inputs
    batch, channels, *size = x.shape
    cost = f.group_norm(
        channels=channels, groups=call["num_groups"], size=tuple(size), batch=batch, affine=call["weight"],
        bias=call["bias"],
    )  # fmt: skip
    # Up to torch 2.13 an input of another layout is copied first, from 2.15 on inside the kernel.
    if x.is_contiguous or is_channels_last(x) or torch_release() > (2, 13):
        return cost
    from costmodel.formulas.cost import as_one

    return as_one("norm", f.copy(shape=x.shape), cost)


def _rms_norm(call: Call) -> LayerCost | None:
    normalized = call["normalized_shape"]
    if 0 in normalized:
        return None
    return f.rms_norm(
        normalized_shape=normalized, rows=call.shape[: -len(normalized)], affine=call["weight"],
        complex_valued=call.complex_valued,
    )  # fmt: skip


def _local_response_norm(call: Call) -> LayerCost:
    batch, channels, *size = call.shape
    return f.local_response_norm(
        channels=channels, size=tuple(size), local_size=call["size"], batch=batch, beta=call["beta"]
    )


add(
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,  # in one process it is a plain batch norm
    hyper="num_features track_running_stats momentum", optional_params="weight bias", formula=_batch_norm,
    takes_empty=True,
)  # fmt: skip
for _axes, (_, _, _instance) in enumerate(_DIMENSIONS, start=1):
    add(
        _instance,
        hyper="num_features track_running_stats",
        optional_params="weight bias",
        formula=_instance_norm(_axes),
    )
add(nn.LayerNorm, hyper="normalized_shape", optional_params="weight bias", formula=_layer_norm, takes_empty=True)
add(nn.GroupNorm, hyper="num_groups num_channels", optional_params="weight bias", formula=_group_norm)
add(nn.RMSNorm, hyper="normalized_shape", optional_params="weight", formula=_rms_norm, takes_empty=True, takes="x")
add(nn.LocalResponseNorm, hyper="size alpha beta k", formula=_local_response_norm, kind="norm")


_ON_REAL_NUMBERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "leaky_relu", "gelu", "gelu_tanh"})
"""Activations that dequantise what is quantised; all others of ``torch.nn`` work on the integers."""


def _activation(name: str) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        if call.complex_valued and f.ACTIVATIONS[name].complex_work is None:
            return None
        if name in _ON_REAL_NUMBERS and call.inputs[0].dtype.startswith("q"):
            return f.quantised_activation(name=name, shape=call.shape)
        return f.activation(name=name, shape=call.shape, complex_valued=call.complex_valued, inplace=call.is_in_place)

    return cost_of


_ACTIVATIONS: dict[ClassName, str] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Hardtanh: "hardtanh", nn.LeakyReLU: "leaky_relu", nn.ELU: "elu",
    nn.CELU: "celu", nn.SELU: "selu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.SiLU: "silu", nn.Mish: "mish",
    nn.Softplus: "softplus", nn.Softsign: "softsign", nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid",
    nn.Hardshrink: "hardshrink", nn.Softshrink: "softshrink", nn.Tanhshrink: "tanhshrink",
    nn.LogSigmoid: "logsigmoid", nn.Threshold: "threshold", nn.Identity: "identity",
}  # fmt: skip
ACTIVATION_NAMES = {_type.name: _name for _type, _name in _ACTIVATIONS.items()}
for _type, _name in _ACTIVATIONS.items():
    add(_type, formula=_activation(_name))
# At inference; in training its slopes are drawn, by a kernel that writes them.
add(nn.RReLU, formula=lambda call: None if call.training else f.activation(name="rrelu", shape=call.shape))
add(
    nn.GELU,
    hyper="approximate",
    formula=lambda call: _activation("gelu_tanh" if call["approximate"] == "tanh" else "gelu")(call),
)
add(
    nn.PReLU,
    hyper="num_parameters",
    optional_params="weight",
    formula=lambda call: f.activation(name="prelu", shape=call.shape, num_parameters=call["num_parameters"]),
)


def _along_an_axis(name: str) -> Formula:
    def cost_of(call: Call) -> LayerCost:
        shape, dim = call.shape, call["dim"]
        if dim is None:  # torch's deprecated guess: the channels, unless there are 3 dimensions
            dim = 0 if len(shape) in (0, 1, 3) else 1
        cost = f.activation(name=name, shape=shape or (1,), dim=dim)
        return cost if shape else replace(cost, output_shape=())  # a number is one row of one

    return cost_of


add(nn.Softmax, hyper="dim", formula=_along_an_axis("softmax"))
add(nn.LogSoftmax, hyper="dim", formula=_along_an_axis("log_softmax"))
add(nn.Softmin, hyper="dim", formula=_along_an_axis("softmin"))
add(nn.GLU, hyper="dim", formula=_along_an_axis("glu"))
add(nn.Softmax2d, formula=lambda call: f.activation(name="softmax", shape=call.shape, dim=-3))


def _max_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.max_pool(
        channels=call.shape[-len(size) - 1], size=size, kernel=call["kernel_size"], stride=call["stride"],
        padding=call["padding"], dilation=call["dilation"], ceil_mode=call["ceil_mode"],
        return_indices=call["return_indices"], batch=batch,
    )  # fmt: skip


def _avg_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.avg_pool(
        channels=call.shape[-len(size) - 1], size=size, kernel=call["kernel_size"], stride=call["stride"],
        padding=call["padding"], ceil_mode=call["ceil_mode"], batch=batch,
    )  # fmt: skip


def _adaptive_avg_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    cost = f.adaptive_avg_pool(
        channels=call.shape[-len(size) - 1], size=size, output_size=call["output_size"], batch=batch,
        complex_valued=call.complex_valued,
    )  # fmt: skip
    if len(size) == 2 and prod(cost.output_size) == 1 and _is_taken_for_channels_last(call.inputs[0]):
        return replace(cost, gradient=partial(_relaid, cost.backward, cost.written))
    return cost


def _is_taken_for_channels_last(x: TensorSpec) -> bool:
    """Whether torch goes on in that layout: of one position, where each has all layouts, by its strides.

    Source: is_channels_last_strides_2d_s4 in c10/core/MemoryFormat.h.
    """
    if x.strides is None or len(x.shape) != 4 or x.strides[1] == 0:
        return False
    least = 0
    for axis in (1, 3, 2, 0):
        if x.strides[axis] < least or (axis == 0 and least == x.strides[1]):
            return False
        least = x.strides[axis] * x.shape[axis]
    return True


def _relaid(backward: Callable[..., BackwardCost], means: int, needs: Needs) -> BackwardCost:
    """Of a mean of all that was given the input's layout: what arrives is copied into zeros of the mean's own."""
    cost = backward(inputs=needs.inputs)
    return cost + f.BackwardCost(read=means, written=2 * means) if needs.any_input else cost


def _adaptive_max_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.adaptive_max_pool(
        channels=call.shape[-len(size) - 1], size=size, output_size=call["output_size"], batch=batch,
        return_indices=True,  # torch writes them whether or not they are asked for
    )  # fmt: skip


def _lp_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    return f.lp_pool(
        channels=call.shape[-len(size) - 1], size=size, kernel=call["kernel_size"], stride=call["stride"],
        norm_type=call["norm_type"], ceil_mode=call["ceil_mode"], batch=batch,
    )  # fmt: skip


_POOLS: tuple[tuple[ClassName, ...], ...] = (
    (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.LPPool1d),
    (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d),
    (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.LPPool3d),
)
for _axes, (_max, _avg, _adaptive_avg, _adaptive_max, _lp) in enumerate(_POOLS, start=1):
    add(
        _max, hyper="kernel_size stride padding dilation ceil_mode return_indices", formula=batched(_axes, _max_pool)
    )  # fmt: skip
    add(_avg, hyper="kernel_size stride padding ceil_mode", formula=batched(_axes, _avg_pool))
    add(_adaptive_avg, hyper="output_size", formula=batched(_axes, _adaptive_avg_pool))
    add(_adaptive_max, hyper="output_size", formula=batched(_axes, _adaptive_max_pool))
    add(_lp, hyper="norm_type kernel_size stride ceil_mode", formula=batched(_axes, _lp_pool), kind="pool")


def _fractional_max_pool(call: Call, batch: int, size: tuple[int, ...]) -> LayerCost:
    out = call["output_size"]
    if out is None:
        out = tuple(int(n * ratio) for n, ratio in zip(size, call["output_ratio"], strict=True))
    return f.fractional_max_pool(
        channels=call.shape[-len(size) - 1], size=size, kernel=call["kernel_size"], output_size=out, batch=batch,
        samples_given=call["_random_samples"],
    )  # fmt: skip


for _axes, _fractional in ((2, nn.FractionalMaxPool2d), (3, nn.FractionalMaxPool3d)):
    add(
        _fractional, hyper="kernel_size output_size output_ratio",
        also=lambda module: {"_random_samples": module._random_samples is not None},
        formula=batched(_axes, _fractional_max_pool),
    )  # fmt: skip


def _flatten(call: Call) -> LayerCost | None:
    shape = call.shape
    if not shape or not call.inputs[0].is_contiguous:
        return None  # a number; or what may have to be copied
    first, last = call["start_dim"] % len(shape), call["end_dim"] % len(shape)
    return f.activation(name="identity", shape=(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]))


add(nn.Flatten, hyper="start_dim end_dim", formula=_flatten, kind="view")


def _unflatten(call: Call) -> LayerCost | None:
    shape, wanted = call.shape, call["unflattened_size"]
    if not isinstance(call["dim"], int):
        return None  # a named dimension
    dim = call["dim"] % len(shape)
    known = prod(n for n in wanted if n != -1)
    sizes = tuple(shape[dim] // known if n == -1 else n for n in wanted)
    return f.activation(name="identity", shape=(*shape[:dim], *sizes, *shape[dim + 1 :]))


add(nn.Unflatten, hyper="dim unflattened_size", formula=_unflatten, kind="view")


add(
    nn.Dropout, hyper="p inplace", kind="other",
    formula=lambda call: f.dropout(shape=call.shape, training=call.training, p=call["p"], inplace=call["inplace"]),
)  # fmt: skip


def _feature_dropout(axes: int) -> Formula:
    def cost_of(call: Call) -> LayerCost | None:
        if call["p"] == 1:
            return None  # a product with one zero
        # Dropout1d and Dropout3d give an input without a batch one; a plane of Dropout2d is of all but two dimensions.
        planes = call.shape[0] if len(call.shape) == axes + 1 and axes != 2 else prod(call.shape[:2])
        return f.feature_dropout(shape=call.shape, planes=planes, training=call.training, p=call["p"])

    return cost_of


add(nn.Dropout1d, hyper="p", formula=_feature_dropout(1), kind="other")
add(nn.Dropout2d, hyper="p", formula=_feature_dropout(2), kind="other")
add(nn.Dropout3d, hyper="p", formula=_feature_dropout(3), kind="other")
# At inference, where these layers do nothing; what they run in training depends on the mask's shape.
add(
    nn.AlphaDropout, nn.FeatureAlphaDropout,
    formula=lambda call: None if call.training else f.dropout(shape=call.shape),
)  # fmt: skip


def _pairwise_distance(call: Call) -> LayerCost | None:
    x, y = call.inputs
    if x is y or x.shape != y.shape or call.complex_valued:
        return None
    return f.pairwise_distance(features=x.shape[-1], rows=x.shape[:-1], norm_type=call["norm"], keepdim=call["keepdim"])


add(nn.PairwiseDistance, hyper="norm keepdim", formula=_pairwise_distance, kind="other", takes="x1 x2")
