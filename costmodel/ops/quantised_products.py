"""Linear layers and convolutions of quantised tensors, with packed weights.

Packed weights are a list among an op's arguments: the weight, and the bias where there is one. Those of a convolution
bring its geometry with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap, grouped, sliding, transposed
from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops.convolution import taps_inside
from costmodel.ops.quantisation import DEQUANTISED, QUANTISED, SOURCE, needs_values, range_of, requantised
from costmodel.ops.rule import Rule, always, every_argument, no_temporaries, register_quantised
from costmodel.ops.temporaries import bytes_besides
from costmodel.quantities import Work


def _input(args: Arguments) -> TensorSpec:
    x: TensorSpec = next(args[name] for name in ("X", "qx") if name in args)
    return x


def _weights(args: Arguments) -> tuple[TensorSpec, bool]:
    """The weight, and whether there is a bias."""
    if "weight" in args and isinstance(args["weight"], TensorSpec):
        return args["weight"], args["bias"] is not None
    packed: list[TensorSpec] = next(args[name] for name in ("W_prepack", "packed_weight", "weight") if name in args)
    return packed[0], len(packed) > 1


# What is done besides the products and the addition of biases, from the input, the weight and the output.
Besides = Callable[[TensorSpec, TensorSpec], Work]


def static(x: TensorSpec, y: TensorSpec) -> Work:
    """Sums of integers are scaled to the output's grid. A ReLU is the lower clamp."""
    return QUANTISED.times(y.size)


def dynamic(x: TensorSpec, y: TensorSpec) -> Work:
    """The input is quantised to the range of its values; sums of integers are scaled to real numbers."""
    return range_of(x) + QUANTISED.times(x.size) + Work(multiplies=y.size)


def through_integers(x: TensorSpec, y: TensorSpec) -> Work:
    """The input is quantised to the range of its values, the output to the same grid, and dequantised.

    Source: ``apply_dynamic`` in aten/src/ATen/native/quantized/cpu/qconv_dynamic.cpp.
    """
    return range_of(x) + QUANTISED.times(x.size) + (QUANTISED + DEQUANTISED).times(y.size)


def floating(x: TensorSpec, y: TensorSpec) -> Work:
    """Weights of 16 bits are cast, and nothing is quantised."""
    return Work()


def from_floats(x: TensorSpec, y: TensorSpec) -> Work:
    """The input is quantised to a grid that is given; sums of integers are scaled to real numbers."""
    return QUANTISED.times(x.size) + Work(multiplies=y.size)


def then(besides: Besides, **counts: int) -> Besides:
    """Further operations on every output element."""
    return lambda x, y: besides(x, y) + Work(**counts).times(y.size)


def _linear_outputs(args: Arguments) -> TensorSpec:
    x, (w, _) = _input(args), _weights(args)
    if not x.shape or x.shape[-1] != w.shape[1]:
        raise ValueError(f"the linear layer's weight {w.shape} takes {w.shape[1]} features, the input has {x.shape}")
    return TensorSpec((*x.shape[:-1], w.shape[0]), x.dtype)


def _linear_work(besides: Besides) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        x, (w, bias), y = _input(call.args), _weights(call.args), call.outputs[0]
        # Every output element is one dot product over the features.
        return Work(macs=y.size * w.shape[1], adds=y.size if bias else 0) + besides(x, y)

    return work


def _linear_access(call: OpCall, output: int) -> AccessMap:
    name = "X" if "X" in call.args else "qx"
    return {name: (*(Affine(d) for d in range(len(call.args[name].shape) - 1)), All())}


def _linear(*names: str, besides: Besides, is_quantised: bool) -> Rule:
    return Rule(
        targets=tuple(f"quantized.{name}.default" for name in names), kind=always("linear"),
        outputs=needs_values if is_quantised else _linear_outputs, work=_linear_work(besides), traffic=every_argument,
        temporaries=no_temporaries, access=_linear_access, fusible=False, source=SOURCE, free_because=None,
        examples=(),
    )  # fmt: skip


# -- convolutions ----------------------------------------------------------------------------------------------------


def _axes(args: Arguments) -> list[tuple[int, int, int, int, int, int]]:
    """(size, kernel, stride, padding, dilation, output padding) of each spatial axis; one row of a 1-d convolution."""
    x, (w, _) = _input(args), _weights(args)
    size = x.shape[2:] if len(x.shape) == len(w.shape) else (1, *x.shape[2:])
    names = ("stride", "padding", "dilation", "output_padding")
    return list(zip(size, w.shape[2:], *(args[name] for name in names), strict=True))


def _conv_outputs(args: Arguments) -> TensorSpec:
    x, (w, _) = _input(args), _weights(args)
    if args["transpose"]:
        channels = w.shape[1] * args["groups"]
        size = [(n - 1) * s - 2 * p + d * (k - 1) + 1 + o for n, k, s, p, d, o in _axes(args)]
    else:
        channels = w.shape[0]
        size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in _axes(args)]
    return TensorSpec((x.shape[0], channels, *size[len(w.shape) - len(x.shape) :]), x.dtype)


def _conv_work(besides: Besides) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args, y = call.args, call.outputs[0]
        x, (w, bias) = _input(args), _weights(args)
        # A dot product with one filter for every output element; transposed, one filter spread for every input element.
        narrow, wide = (x, y) if args["transpose"] else (y, x)
        macs = narrow.size * prod(w.shape[1:])
        inside, missing = x.shape[0] * w.shape[0] * w.shape[1], len(w.shape) - len(x.shape)
        of_narrow, of_wide = (1,) * missing + narrow.shape[2:], (1,) * missing + wide.shape[2:]
        for out, size, (_, k, s, p, d, _) in zip(of_narrow, of_wide, _axes(args), strict=True):
            inside *= taps_inside(out, size, k, s, p, d)
        return Work(macs=macs, adds=y.size if bias else 0, macs_on_padding=macs - inside) + besides(x, y)

    return work


def _conv_kind(call: OpCall) -> str:
    (w, _), groups = _weights(call.args), call.args["groups"]
    if call.args["transpose"]:
        return "transposed conv"
    if groups > 1:
        return "depthwise conv" if w.shape[1] == 1 else "grouped conv"
    return "pointwise conv" if all(k == 1 for k in w.shape[2:]) else "standard conv"


def _conv_access(call: OpCall, output: int) -> AccessMap:
    args, x, y = call.args, _input(call.args), call.outputs[0]
    spread, axes = (transposed if args["transpose"] else sliding), _axes(args)[-(len(x.shape) - 2) :]
    spatial = tuple(
        spread(i + 2, size=k, stride=s, pad=p, dilation=d) for i, (_, k, s, p, d, _) in enumerate(axes)
    )  # fmt: skip
    channels = grouped(1, size_in=x.shape[1], size_out=y.shape[1], groups=args["groups"])
    maps: dict[str, tuple[AxisMap, ...]] = {"qx": (Affine(0), channels, *spatial)}
    if "qaccum" in args:
        maps["qaccum"] = tuple(map(Affine, range(len(y.shape))))
    return maps


def _conv_temporaries(is_quantised: bool) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """The input's integers with channels last; of real inputs, the integers of input and output beside it."""

    def temporaries(args: Arguments) -> list[TensorSpec]:
        x = _input(args)
        last = [] if is_channels_last(x) or len(x.shape) == 3 else [TensorSpec(x.shape, "quint8")]
        if is_quantised:
            return last
        y, integers = _conv_outputs(args), TensorSpec(x.shape, "quint8")
        return bytes_besides(y.nbytes, 2 * integers.nbytes + y.size, integers.nbytes + y.size + y.nbytes)

    return temporaries


def _conv(*targets: str, besides: Besides, is_quantised: bool) -> Rule:
    return Rule(
        targets=tuple(f"quantized.{target}" for target in targets), kind=_conv_kind,
        outputs=needs_values if is_quantised else _conv_outputs, work=_conv_work(besides), traffic=every_argument,
        temporaries=_conv_temporaries(is_quantised), access=_conv_access, fusible=False, source=SOURCE,
        free_because=None, examples=(),
    )  # fmt: skip


_AXES = (1, 2, 3)
_OVERLOADS = {1: ("default",), 2: ("default", "new"), 3: ("default", "new")}

register_quantised(
    _linear("linear", "linear_relu", besides=static, is_quantised=True),
    _linear("linear_leaky_relu", besides=then(requantised, compares=1, multiplies=1), is_quantised=True),
    _linear("linear_tanh", besides=then(requantised, transcendentals=1), is_quantised=True),
    _linear("linear_dynamic", besides=dynamic, is_quantised=False),
    _linear("linear_relu_dynamic", besides=then(dynamic, compares=1), is_quantised=False),
    _linear("linear_dynamic_fp16", "linear_dynamic_fp16_unpacked_weight", besides=floating, is_quantised=False),
    _linear("linear_relu_dynamic_fp16", besides=then(floating, compares=1), is_quantised=False),
    _linear("linear_with_input_q_dq_qweight_dq_output_fp32", besides=from_floats, is_quantised=False),
    _linear(
        "linear_with_input_q_dq_qweight_dq_relu_output_fp32", besides=then(from_floats, compares=1), is_quantised=False
    ),
    _conv(
        *(f"conv{n}d{relu}.{o}" for n in _AXES for relu in ("", "_relu") for o in _OVERLOADS[n]),
        *(f"conv_transpose{n}d.default" for n in _AXES), besides=static, is_quantised=True,
    ),
    # The other summand is brought to the output's grid, and added to the sums.
    _conv(
        "conv2d_add.default", "conv2d_add_relu.default",
        besides=lambda x, y: static(x, y) + DEQUANTISED.times(y.size) + Work(adds=y.size), is_quantised=True,
    ),
    _conv(
        *(f"conv{transpose}{n}d_dynamic.default" for n in _AXES for transpose in ("", "_transpose")),
        besides=through_integers, is_quantised=False,
    ),
)  # fmt: skip
