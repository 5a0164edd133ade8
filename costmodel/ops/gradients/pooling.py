"""Gradients of poolings: what each output got is given back to the elements of its window."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.pooling import adaptive_elements, grid
from costmodel.ops.rule import Example, Rule, always, example, moved, register
from costmodel.ops.temporaries import contiguous, in_format_of
from costmodel.quantities import Traffic, Work


def _like_input(keeps_format: bool) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        return TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape) if keeps_format else None)

    return outputs


def _traffic(call: OpCall) -> Traffic:
    # Of the input, only its shape is used.
    given = (call.args["grad_output"], call.args.get("indices"))
    return moved([t for t in given if t is not None], call.outputs)


def _max_work(call: OpCall) -> Work:
    # Each gradient is added to the element that was the greatest.
    return Work(adds=call.args["grad_output"].size)


def _average_work(axes: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        # Each gradient is divided among the elements of its window, and added to those within the input.
        g, x = call.args["grad_output"], call.args["self"]
        inside = prod(g.shape[:-axes])
        for n, m, (k, s, p, _) in zip(x.shape[-axes:], g.shape[-axes:], grid(call.args, axes), strict=True):
            inside *= _elements_inside(n, m, k, s, p)
        return Work(divides=g.size, adds=inside)

    return work


@lru_cache(maxsize=4096)
def _elements_inside(size: int, windows: int, kernel: int, stride: int, padding: int) -> int:
    """Elements of the input that all windows along one axis cover together, an overlap as often as it is covered."""
    starts = (o * stride - padding for o in range(windows))
    return sum(max(min(start + kernel, size) - max(start, 0), 0) for start in starts)


def _adaptive_average_work(axes: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        g, x = call.args["grad_output"], call.args["self"]
        return Work(divides=g.size, adds=prod(g.shape[:-axes]) * adaptive_elements(x, g, axes))

    return work


def _rule(
    name: str,
    work: Callable[[OpCall], Work],
    *examples: Example,
    keeps_format: bool,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]],
) -> Rule:
    return Rule(
        targets=(f"aten.{name}_backward.default",), kind=always("pool"), outputs=_like_input(keeps_format), work=work,
        traffic=_traffic, access=everything, temporaries=temporaries, fusible=False,
        source="torch.nn.MaxPool2d, AvgPool2d, AdaptiveAvgPool2d and others", free_because=None, examples=examples,
    )  # fmt: skip


for _axes in (2, 3):
    _x, _y = TensorSpec((2, 3, *(8, 6, 4)[:_axes])), TensorSpec((2, 3, *(4, 3, 2)[:_axes]))
    _i, _two, _one, _no = TensorSpec(_y.shape, "int64"), [2] * _axes, [1] * _axes, [0] * _axes
    _rows, _image = contiguous("grad_output"), _like_input(keeps_format=True)
    _format = in_format_of("grad_output", "grad_output", outputs=_image) if _axes == 2 else _rows
    register(
        _rule(f"max_pool{_axes}d_with_indices", _max_work,
              example(_y, _x, _two, _two, _no, _one, False, _i), keeps_format=True,
              temporaries=in_format_of("grad_output", "grad_output", "indices", outputs=_image)),
        _rule(f"avg_pool{_axes}d", _average_work(_axes),
              example(_y, _x, _two, _two, _no, False, True, None), keeps_format=_axes == 2, temporaries=_format),
        _rule(f"_adaptive_avg_pool{_axes}d", _adaptive_average_work(_axes),
              example(_y, _x), keeps_format=_axes == 2, temporaries=_format),
        _rule(f"adaptive_max_pool{_axes}d", _max_work,
              example(_y, _x, _i), keeps_format=_axes == 2,
              temporaries=in_format_of("self", "grad_output", "indices") if _axes == 2 else _rows),
        _rule(f"fractional_max_pool{_axes}d", _max_work,
              example(_y, _x, _two, list(_y.shape[2:]), _i), keeps_format=False, temporaries=_rows),
    )  # fmt: skip
