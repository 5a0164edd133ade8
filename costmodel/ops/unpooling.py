"""Pooling undone, pooling over random windows, and the gradient of pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec, is_channels_last
from costmodel.ops import layout
from costmodel.ops.movement import copy
from costmodel.ops.rule import Outputs, Rule, always, example, moved, register
from costmodel.ops.temporaries import contiguous
from costmodel.ops.temporaries import copy as copied
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 3, 2, 2))
_WHERE = TensorSpec((2, 3, 2, 2), "int64")
_VOLUME = TensorSpec((2, 3, 2, 2, 2))
_WHERE_3D = TensorSpec((2, 3, 2, 2, 2), "int64")


def _unpooled(args: Arguments) -> TensorSpec:
    x = args["self"]
    axes = len(args["output_size"])
    shape = (*x.shape[: len(x.shape) - axes], *args["output_size"])
    return TensorSpec(shape, x.dtype, layout.in_format_of(x, shape) if axes == 2 else None)


def in_rows_or_channels_last(*names: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """Copies of arguments that are neither contiguous nor channels last."""
    return lambda args: [
        copied(t) for t in map(args.__getitem__, names) if not t.is_contiguous and not is_channels_last(t)
    ]


def _planes(axes: int, call: OpCall) -> AccessMap:
    # Which position of its plane an output has come from stands in the indices, or was drawn.
    return {
        name: tuple(Affine(d) if d < len(t.shape) - axes else All() for d in range(len(t.shape)))
        for name, t in call.tensors()
        if name in ("self", "indices", "grad_output")
    }


def _unpooled_access(call: OpCall, output: int) -> AccessMap:
    return _planes(len(call.args["output_size"]), call)


def _fractional(args: Arguments) -> Outputs:
    x = args["self"]
    shape = (*x.shape[: len(x.shape) - len(args["output_size"])], *args["output_size"])
    return TensorSpec(shape, x.dtype), TensorSpec(shape, "int64")


def _fractional_work(call: OpCall) -> Work:
    return Work(compares=(prod(call.args["kernel_size"]) - 1) * call.outputs[0].size)


def _fractional_traffic(call: OpCall) -> Traffic:
    # A number for each axis of each plane; more that were given are not looked at.
    samples = call.args["random_samples"]
    axes = len(call.args["output_size"])
    n = axes * prod(call.args["self"].shape[:-axes])
    return moved([call.args["self"]], call.outputs) + Traffic(read=n, read_bytes=n * samples.itemsize)


def _fractional_access(call: OpCall, output: int) -> AccessMap:
    x, axes = call.args["self"], len(call.args["output_size"])
    seen: dict[str, tuple[AxisMap, ...]] = {
        "self": tuple(Affine(d) if d < len(x.shape) - axes else All() for d in range(len(x.shape)))
    }
    return seen


register(
    copy("aten.max_unpool2d.default", outputs=_unpooled, access=_unpooled_access,
         temporaries=in_rows_or_channels_last("self", "indices"),
         examples=(example(_X, _WHERE, [4, 4]), example(TensorSpec((3, 2, 2)), TensorSpec((3, 2, 2), "int64"), [4, 5])),
         source="torch.nn.MaxUnpool2d: each value where its index says, zeros elsewhere"),
    copy("aten.max_unpool3d.default", outputs=_unpooled, access=_unpooled_access,
         temporaries=contiguous("self", "indices"),
         examples=(example(_VOLUME, _WHERE_3D, [4, 4, 4], [2, 2, 2], [0, 0, 0]),),
         source="torch.nn.MaxUnpool3d: each value where its index says, zeros elsewhere"),
    *(
        Rule(targets=(target,), kind=always("pool"), outputs=_fractional, work=_fractional_work,
             traffic=_fractional_traffic, access=_fractional_access, temporaries=contiguous("self", "random_samples"),
             fusible=False,
             source="Graham, Fractional Max-Pooling, arXiv:1412.6071", free_because=None, examples=(case,))
        for target, case in (
            ("aten.fractional_max_pool2d.default",
             example(TensorSpec((2, 3, 6, 6)), [2, 2], [3, 3], TensorSpec((2, 3, 2)))),
            ("aten.fractional_max_pool3d.default",
             example(TensorSpec((2, 3, 6, 6, 6)), [2, 2, 2], [3, 3, 3], TensorSpec((2, 3, 3)))),
        )
    ),
)  # fmt: skip
