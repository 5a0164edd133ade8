"""Convolutions, dense, grouped, depthwise, dilated and transposed, in 1 to 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import TypeAlias

from costmodel.access import AccessMap, Affine, grouped, sliding, transposed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.composite import Composite, register_composites, without
from costmodel.ops.rule import Rule, every_argument, example, register
from costmodel.ops.temporaries import bytes_besides, copy, is_in_format
from costmodel.quantities import Work

Axis: TypeAlias = tuple[int, int, int, int, int, int]


def _axes(args: Arguments) -> Iterable[Axis]:
    """(size, kernel, stride, padding, dilation, output_padding) of each spatial axis."""
    size, kernel = args["input"].shape[2:], args["weight"].shape[2:]
    per_axis: tuple[Sequence[int], ...] = args["stride"], args["padding"], args["dilation"], args["output_padding"]
    axes = len(kernel)
    for value in per_axis:
        if len(value) != axes:  # torch lets one number stand for every axis
            per_axis = tuple(tuple(v) * axes if len(v) == 1 else v for v in per_axis)
            break
    return zip(size, kernel, *per_axis)  # noqa: B905  # the shapes were compared, and strict costs time


def _outputs(args: Arguments) -> TensorSpec:
    x, w, transposed = args["input"], args["weight"], args["transposed"]
    given, kernel = x.shape, w.shape
    if len(given) != len(kernel):
        axes = len(kernel) - 2
        raise ValueError(
            f"a {axes}-d convolution takes an input of {axes + 2} dimensions (batch, channels, *size), got {x}"
        )
    groups = args["groups"]
    c_in, c_out = (kernel[0], kernel[1] * groups) if transposed else (kernel[1] * groups, kernel[0])
    if given[1] != c_in:
        raise ValueError(
            f"the convolution's weight {kernel} with groups={groups} takes {c_in} input channels, the input {given} "
            f"has {given[1]}"
        )
    if transposed:
        if any(o >= s and o >= d for _, _, s, _, d, o in _axes(args)):
            raise ValueError(
                f"output_padding {tuple(args['output_padding'])} must be smaller than the stride "
                f"{tuple(args['stride'])} or the dilation {tuple(args['dilation'])}"
            )
        size = [(n - 1) * s - 2 * p + d * (k - 1) + 1 + o for n, k, s, p, d, o in _axes(args)]
    else:
        size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in _axes(args)]
    if min(size) < (0 if transposed else 1):  # torch makes an empty map by a transposed convolution
        raise ValueError(
            f"the kernel {kernel[2:]} (dilation {tuple(args['dilation'])}) does not fit into the input {given} "
            f"with padding {tuple(args['padding'])}: the output would be {tuple(size)}"
        )
    if given[0]:  # torch computes nothing for a batch of none, and takes any
        layout.of_one_dtype("a convolution", x, w, args["bias"])
    shape = (given[0], c_out, *size)
    if x.strides is None and w.strides is None:
        return TensorSpec(shape, x.dtype)
    if len(shape) == 3:
        row = layout.in_format_of(_format_like(_row(x), _row(w)), (*shape[:2], 1, shape[2]))
        return TensorSpec(shape, x.dtype, None if row is None else layout.normal((*row[:2], row[3]), shape))
    return TensorSpec(shape, x.dtype, layout.in_format_of(_format_like(x, w), shape))


def _format_like(x: TensorSpec, w: TensorSpec) -> TensorSpec:
    return x if layout.suggested_channels_last(x) else w


def _row(t: TensorSpec) -> TensorSpec:
    """A contiguous (batch, channels, length) tensor as rows of height 1, which torch makes it contiguous for."""
    n, c, length = t.shape
    if t.strides is None or not t.is_contiguous:
        return TensorSpec((n, c, 1, length), t.dtype)
    s_n, s_c, s_length = t.strides
    return TensorSpec((n, c, 1, length), t.dtype, (s_n, s_c, s_length * length, s_length))


def _temporaries(args: Arguments) -> Iterable[TensorSpec]:
    """The input and the filters in one memory format: channels last, where either suggests that."""
    x, w = args["input"], args["weight"]
    if layout.category(x.dtype) == 3:
        yield from _complex_temporaries(args)
        return
    if is_by_group(args):
        yield _outputs(args | {"bias": None})  # each group, then all in one
    if x.strides is None and w.strides is None:
        return
    if len(x.shape) == 3:
        yield from (copy(t) for t in (x, w) if not t.is_contiguous)
        x, w = _row(x), _row(w)
    last = layout.suggested_channels_last(x) or layout.suggested_channels_last(w)
    yield from (copy(t) for t in (x, w) if not is_in_format(t, channels_last=last))


def is_by_group(args: Arguments) -> bool:
    """Whether the CPU computes one group after the other: oneDNN takes no output padding as large as the stride."""
    return args["groups"] > 1 and args["transposed"] and any(o >= s for _, _, s, _, _, o in _axes(args))


def _complex_temporaries(args: Arguments) -> list[TensorSpec]:
    """Three real convolutions, a of the real parts, b of the imaginary parts, c of their sums: a - b + i (c - a - b).

    The most is live while c is made, with a, b and the sums; or at the end, with all differences and the products of i,
    of which real operands are cast.
    """
    y = _outputs(args)
    given = [t for t in (args["input"], args["weight"], args["bias"]) if t is not None]
    x, w, *_ = (TensorSpec(t.shape, layout.real_dtype(t.dtype), layout.preserved_strides(t.shape, [t])) for t in given)
    copies = sum(t.nbytes for t in _temporaries(args | {"input": x, "weight": w}))
    sums = sum(t.nbytes for t in given) // 2
    return bytes_besides(y.nbytes, 3 * y.nbytes // 2 + sums + copies, 6 * y.nbytes)


@lru_cache(maxsize=4096)
def taps_inside(out: int, size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pairs of an output position and a kernel tap that meet a real input position, along one axis."""
    inside = 0
    if kernel > out:  # outputs and taps play the same part in what follows; the fewer are gone through one by one
        out, kernel, stride, dilation = kernel, out, dilation, stride
    for k in range(kernel):
        # Output o meets input o * stride - padding + k * dilation, which must be in 0 .. size - 1.
        offset = padding - k * dilation
        first = max(-(-offset // stride), 0)
        last = min((size - 1 + offset) // stride, out - 1)
        inside += max(last - first + 1, 0)
    return inside


def _work(call: OpCall) -> Work:
    (y,) = call.outputs
    return work_of(call.args, y)


def work_of(args: Arguments, y: TensorSpec) -> Work:
    """The work of a convolution whose output, or the gradient of that, is ``y``."""
    x, w = args["input"], args["weight"]
    # Every output element is one dot product with one filter; transposed, every input element is spread over one filter
    # of each output channel of its group. Both are the same geometry with input and output exchanged.
    narrow, wide = (x, y) if args["transposed"] else (y, x)
    macs = prod(narrow.shape) * prod(w.shape[1:])
    inside = x.shape[0] * w.shape[0] * w.shape[1]  # filters: (c_out, c_in / groups), transposed (c_in, c_out / groups)
    for axis, (_, k, s, p, d, _) in enumerate(_axes(args), start=2):
        inside *= taps_inside(narrow.shape[axis], wide.shape[axis], k, s, p, d)
    return Work(macs=macs, adds=prod(y.shape) if args.get("bias") is not None else 0, macs_on_padding=macs - inside)


def kind_of(call: OpCall) -> str:
    """Its category, one of ``costmodel.ops.KINDS``; also of the op for its gradients."""
    w, groups = call.args["weight"], call.args["groups"]
    if call.args["transposed"]:
        return "transposed conv"
    if groups > 1:
        return "depthwise conv" if w.shape[1] == 1 else "grouped conv"
    return "pointwise conv" if all(k == 1 for k in w.shape[2:]) else "standard conv"


def _access(call: OpCall, output: int) -> AccessMap:
    spread = transposed if call.args["transposed"] else sliding
    spatial = tuple(
        spread(i + 2, size=k, stride=s, pad=p, dilation=d) for i, (_, k, s, p, d, _) in enumerate(_axes(call.args))
    )
    x, y = call.args["input"].shape, call.outputs[0].shape
    return {"input": (Affine(0), grouped(1, size_in=x[1], size_out=y[1], groups=call.args["groups"]), *spatial)}


_X = TensorSpec((2, 4, 9, 8))

register(
    Rule(
        targets=("aten.convolution.default",),
        kind=kind_of,
        outputs=_outputs,
        work=_work,
        traffic=every_argument,
        access=_access,
        temporaries=_temporaries,
        fusible=False,
        source="Dumoulin & Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285",
        free_because=None,
        examples=(
            example(_X, TensorSpec((6, 4, 3, 3)), None, [2, 1], [1, 0], [1, 2], False, [0, 0], 1),
            example(_X, TensorSpec((8, 2, 3, 2)), TensorSpec((8,)), [1, 1], [1, 1], [1, 1], False, [0, 0], 2),
            example(_X, TensorSpec((4, 3, 3, 2)), TensorSpec((6,)), [2, 2], [1, 0], [1, 1], True, [1, 0], 2),
            example(_X, TensorSpec((4, 3, 3, 3)), None, [1, 1], [0, 0], [2, 2], True, [1, 1], 2),
            example(TensorSpec((2, 4, 9)), TensorSpec((6, 4, 3)), None, [1], [1], [1], False, [0], 1),
            example(
                TensorSpec((2, 2, 5, 6, 7)), TensorSpec((3, 2, 3, 3, 1)), None, [1] * 3, [0] * 3, [1] * 3, False,
                [0] * 3, 1,
            ),
        ),
    )
)  # fmt: skip


def _core_arguments(axes: int, transposed: bool) -> Callable[[Arguments], Arguments | None]:
    zeros = [0] * axes

    def arguments(args: Arguments) -> Arguments | None:
        if len(args["input"].shape) != axes + 2:
            return None  # without a batch dimension: torch unsqueezes
        return {
            "input": args["input"],
            "weight": args["weight"],
            "bias": args["bias"],
            "stride": args["stride"],
            "padding": args["padding"],
            "dilation": args["dilation"],
            "transposed": transposed,
            "output_padding": args["output_padding"] if transposed else zeros,
            "groups": args["groups"],
        }

    return arguments


register_composites(
    Composite(  # as torch.jit.trace writes a convolution down
        targets=("aten._convolution.default", "aten._convolution.deprecated"),
        core="aten.convolution.default",
        arguments=without("benchmark", "deterministic", "cudnn_enabled", "allow_tf32"),
        examples=(
            example(
                _X, TensorSpec((6, 4, 3, 3)), None, [2, 1], [1, 0], [1, 2], False, [0, 0], 1, False, False, False, False
            ),
        ),
    )
)
for _rank, _overload in ((1, "default"), (2, "input"), (3, "input")):
    register_composites(
        Composite(
            targets=(f"aten.conv{_rank}d.default",),
            core="aten.convolution.default",
            arguments=_core_arguments(_rank, transposed=False),
            examples=tuple(
                example(
                    TensorSpec((2, 4, *(9, 8, 7)[:_rank]), dtype), TensorSpec((6, 4, *[3] * _rank), dtype), None, [2]
                )
                for dtype in ("float32", "complex64")
            ),
        ),
        Composite(
            targets=(f"aten.conv_transpose{_rank}d.{_overload}",),
            core="aten.convolution.default",
            arguments=_core_arguments(_rank, transposed=True),
            examples=tuple(
                example(
                    TensorSpec((2, 4, *(9, 8, 7)[:_rank]), dtype), TensorSpec((4, 6, *[3] * _rank), dtype), None, [2]
                )
                for dtype in ("float32", "complex64")
            ),
        ),
    )
