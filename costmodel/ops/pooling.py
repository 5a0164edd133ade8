"""Max and average pooling, plain and adaptive, in 1 to 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import gcd, prod

from costmodel.access import AccessMap, Affine, adaptive, sliding
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.composite import Composite, register_composites
from costmodel.ops.layout import Shape, Strides
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import contiguous, copied_into_format, in_memory_format, mean_of_half
from costmodel.quantities import Work


def _each(value: Sequence[int], axes: int) -> Sequence[int]:
    """torch lets one number stand for every axis."""
    return tuple(value) * axes if len(value) == 1 else value


def grid(args: Arguments, axes: int) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, padding, dilation) of each axis; no stride means windows side by side."""
    kernel = _each(args["kernel_size"], axes)
    return list(
        zip(
            kernel, _each(args["stride"], axes) or kernel, _each(args["padding"], axes),
            _each(args.get("dilation", (1,)), axes), strict=True,
        )
    )  # fmt: skip


def _length(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    spare = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return spare // stride + 1
    n = -(-spare // stride) + 1
    # A last window that begins in the right-hand padding is dropped.
    return n - 1 if (n - 1) * stride >= size + padding else n


def _contiguous(x: TensorSpec, shape: Shape) -> Strides | None:
    return None


def _as_one_row(x: TensorSpec, shape: Shape) -> Strides | None:
    """The memory format of a 1-d pooling that torch does as a 2-d one, on rows of height 1."""
    if x.strides is None or len(shape) != 3:
        return None
    strides = layout.in_format_of(_row(x), (*shape[:2], 1, shape[2]))
    return None if strides is None else (*strides[:2], strides[3])


def _row(x: TensorSpec) -> TensorSpec:
    """A (batch, channels, length) tensor as rows of height 1."""
    (n, c, length), (s_n, s_c, s_length) = x.shape, x.full_strides
    return TensorSpec((n, c, 1, length), x.dtype, (s_n, s_c, s_length * length, s_length))


Format = Callable[[TensorSpec, Shape], Strides | None]
"""The strides of an output of the given shape, from the input's."""


def _pool_outputs(axes: int, format_of: Format) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        leading = len(x.shape) - axes
        if leading not in (1, 2):
            raise ValueError(f"{axes}-d pooling takes (batch, channels, *size) or (channels, *size), got {x.shape}")
        ceil_mode = args["ceil_mode"]
        size = tuple(
            _length(n, k, s, p, d, ceil_mode)
            for n, (k, s, p, d) in zip(x.shape[leading:], grid(args, axes), strict=True)
        )  # fmt: skip
        if min(size) < 1:
            raise ValueError(f"the pooling window {tuple(args['kernel_size'])} does not fit the input {x.shape}")
        shape = x.shape[:leading] + size
        return TensorSpec(shape, x.dtype, format_of(x, shape))

    return outputs


def _with_indices(outputs: Callable[[Arguments], TensorSpec]) -> Callable[[Arguments], tuple[TensorSpec, ...]]:
    def both(args: Arguments) -> tuple[TensorSpec, ...]:
        y = outputs(args)
        return y, TensorSpec(y.shape, "int64", y.strides)

    return both


def _taps(call: OpCall, axes: int) -> int:
    return prod(_each(call.args["kernel_size"], axes))


def _max_work(axes: int) -> Callable[[OpCall], Work]:
    # The maximum of k numbers takes k - 1 comparisons.
    return lambda call: Work(compares=call.outputs[0].size * (_taps(call, axes) - 1))


def _average_work(axes: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        n = call.outputs[0].size
        return Work(adds=n * (_taps(call, axes) - 1), divides=n)

    return work


def _sliding_access(axes: int) -> Callable[[OpCall, int], AccessMap]:
    def access(call: OpCall, output: int) -> AccessMap:
        leading = len(call.args["self"].shape) - axes
        spatial = (
            sliding(leading + i, size=k, stride=s, pad=p, dilation=d)
            for i, (k, s, p, d) in enumerate(grid(call.args, axes))
        )
        return {"self": (*(Affine(d) for d in range(leading)), *spatial)}

    return access


def _adaptive_outputs(axes: int, format_of: Format) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        leading = len(x.shape) - axes
        if leading not in (1, 2):
            raise ValueError(f"{axes}-d pooling takes (batch, channels, *size) or (channels, *size), got {x.shape}")
        shape = (*x.shape[:leading], *_each(args["output_size"], axes))
        return TensorSpec(shape, x.dtype, format_of(x, shape))

    return outputs


def adaptive_elements(x: TensorSpec, y: TensorSpec, axes: int) -> int:
    """Elements that all adaptive windows of one channel cover together, an overlap as often as it is covered."""
    covered = 1
    for n, m in zip(x.shape[-axes:], y.shape[-axes:], strict=True):
        # Output o covers floor(o n / m) up to, and without, ceil((o + 1) n / m). Together that is each input once, and
        # once more each one that a border o n / m lies within: of the m borders, gcd(n, m) lie between two inputs.
        covered *= n + m - gcd(n, m)
    return covered


def _adaptive_work(axes: int, *, average: bool) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        x, y = call.args["self"], call.outputs[0]
        # Every output of k elements takes k - 1 additions or comparisons.
        steps = prod(y.shape[:-axes]) * adaptive_elements(x, y, axes) - y.size
        return Work(adds=steps, divides=y.size) if average else Work(compares=steps)

    return work


def _adaptive_access(axes: int) -> Callable[[OpCall, int], AccessMap]:
    def access(call: OpCall, output: int) -> AccessMap:
        x, y = call.args["self"].shape, call.outputs[0].shape
        leading = len(x) - axes
        spatial = (adaptive(d, size_in=x[d], size_out=y[d]) for d in range(leading, len(x)))
        return {"self": (*(Affine(d) for d in range(leading)), *spatial)}

    return access


def _copied_row(args: Arguments) -> list[TensorSpec]:
    """The copy of a 1-d pooling that torch does as a 2-d one, on rows of height 1."""
    x = args["self"]
    if x.strides is None or len(x.shape) != 3:
        return copied_into_format(x)
    return copied_into_format(_row(x))


def _and_indices(
    temporaries: Callable[[Arguments], Iterable[TensorSpec]], outputs: Callable[[Arguments], TensorSpec]
) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """Also the index of each maximum: int64, one per output."""
    return lambda args: [*temporaries(args), TensorSpec(outputs(args).shape, "int64")]


def _unless_global(
    temporaries: Callable[[Arguments], Iterable[TensorSpec]],
) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A single output per channel is a mean, which reads any layout."""

    def needed(args: Arguments) -> Iterable[TensorSpec]:
        x, sizes = args["self"], args["output_size"]
        if any(n != 1 for n in sizes):
            return temporaries(args)
        return mean_of_half(x, TensorSpec(x.shape[: -len(sizes)], x.dtype))

    return needed


def _rule(
    target: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    access: Callable[[OpCall, int], AccessMap],
    examples: tuple[Example, ...],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]],
) -> Rule:
    return Rule(
        targets=(target,), kind=always("pool"), outputs=outputs, work=work, traffic=every_argument, access=access,
        temporaries=temporaries, fusible=False,
        source="torch.nn.MaxPool2d, AvgPool2d, AdaptiveAvgPool2d and others", free_because=None,
        examples=examples,
    )  # fmt: skip


_SIZE = (9, 8, 7)

for _axes in (1, 2, 3):
    _x = TensorSpec((2, 3, *_SIZE[:_axes]))
    # Which kernels keep channels last is a matter of which have been written so.
    _mostly: Format = _as_one_row if _axes == 1 else layout.in_format_of if _axes == 2 else _contiguous
    _max_format: Format = layout.in_format_of if _axes == 3 else _mostly
    _max = _pool_outputs(_axes, _max_format)
    _plain = (example(_x, [3] * _axes, [2] * _axes, [1] * _axes), example(_x, [2]))
    _maximum = (*_plain, example(_x, [2], [1], [0], [2]), example(_x, [2], [3], [1], [1], True))
    _unbatched = example(TensorSpec(_x.shape[1:]), [2], [3], [1], True)
    _average = (*_plain, _unbatched, example(_x, [2], [3], [1], True, False))
    _access = _sliding_access(_axes)
    _adapted = (example(_x, [4] * _axes), example(TensorSpec(_x.shape[1:]), [1] * _axes))
    _copied = _copied_row if _axes == 1 else in_memory_format("self")
    # A 1-d maximum alone has a kernel of its own, which keeps no indices.
    _max_alone = _pool_outputs(1, _contiguous) if _axes == 1 else _max
    register(
        _rule(f"aten.max_pool{_axes}d.default", _max_alone, _max_work(_axes), _access, _maximum,
              contiguous("self") if _axes == 1 else _and_indices(_copied, _max_alone)),
        _rule(f"aten.max_pool{_axes}d_with_indices.default", _with_indices(_max), _max_work(_axes), _access, _maximum,
              _copied),
        _rule(f"aten.avg_pool{_axes}d.default", _pool_outputs(_axes, _mostly), _average_work(_axes), _access, _average,
              contiguous("self") if _axes == 3 else _copied),
        _rule(f"aten.adaptive_max_pool{_axes}d.default", _with_indices(_adaptive_outputs(_axes, _mostly)),
              _adaptive_work(_axes, average=False), _adaptive_access(_axes), _adapted,
              no_temporaries if _axes == 3 else _copied),
    )  # fmt: skip
    if _axes > 1:
        register(
            _rule(
                f"aten._adaptive_avg_pool{_axes}d.default", _adaptive_outputs(_axes, _mostly),
                _adaptive_work(_axes, average=True), _adaptive_access(_axes), _adapted,
                no_temporaries if _axes == 3 else _copied,
            )
        )  # fmt: skip
        register_composites(
            Composite(
                targets=(f"aten.adaptive_avg_pool{_axes}d.default",),
                core=f"aten._adaptive_avg_pool{_axes}d.default",
                temporaries=_unless_global(_copied if _axes == 2 else no_temporaries),
                examples=_adapted,
            )
        )
