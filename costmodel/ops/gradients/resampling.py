"""Gradients of interpolation: each output's gradient is given back to the neighbours that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout, resampling
from costmodel.ops.access import everything
from costmodel.ops.rule import Rule, always, every_argument, example, register
from costmodel.ops.temporaries import contiguous, copy, in_memory_format
from costmodel.quantities import Work


def _outputs(keeps_format: bool) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        g, shape = args["grad_output"], tuple(args["input_size"])
        return TensorSpec(shape, g.dtype, layout.in_format_of(g, shape) if keeps_format else None)

    return outputs


def _by_rows(args: Arguments) -> list[TensorSpec]:
    """What arrives made contiguous, and the result before it is stored channels last."""
    y = _outputs(keeps_format=True)(args)
    return [copy(t) for t in (args["grad_output"], y) if not t.is_contiguous]


def _nearest_3d(args: Arguments) -> list[TensorSpec]:
    """The result before it is made contiguous, where what arrives is channels last; else that made contiguous."""
    if layout.suggested_channels_last(args["grad_output"]):
        return [copy(_outputs(keeps_format=False)(args))]
    return list(contiguous("grad_output")(args))


def _spread(taps: int) -> Callable[[OpCall], Work]:
    """Weighted for each of so many neighbours, and added there; a nearest neighbour has no weight."""
    return lambda call: Work(multiplies=taps if taps > 1 else 0, adds=taps).times(call.args["grad_output"].size)


def _antialiased(radius: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args = call.args
        taps = resampling.antialiased_taps(args, TensorSpec(tuple(args["input_size"])), args["grad_output"], radius)
        return Work(multiplies=taps, adds=taps)

    return work


def _rule(
    name: str,
    axes: int,
    work: Callable[[OpCall], Work],
    *corners: bool,
    keeps_format: bool = True,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] | None = None,
) -> Rule:
    if temporaries is None:
        temporaries = in_memory_format("grad_output") if keeps_format else contiguous("grad_output")
    small, big = (5, 6, 7)[:axes], (10, 12, 14)[:axes]
    return Rule(
        targets=(f"aten.{name}_backward.default",), kind=always("resample"), outputs=_outputs(keeps_format), work=work,
        traffic=every_argument, access=everything, temporaries=temporaries, fusible=False,
        source="torch.nn.Upsample", free_because=None,
        examples=(example(TensorSpec((2, 3, *big)), list(big), [2, 3, *small], *corners),),
    )  # fmt: skip


for _d in (1, 2, 3):
    register(
        _rule(
            f"upsample_nearest{_d}d", _d, _spread(1), keeps_format=_d == 2, temporaries=_nearest_3d if _d == 3 else None
        ),
        _rule(
            f"_upsample_nearest_exact{_d}d",
            _d,
            _spread(1),
            keeps_format=_d == 2,
            temporaries=_nearest_3d if _d == 3 else None,
        ),
        _rule(f"upsample_{('linear', 'bilinear', 'trilinear')[_d - 1]}{_d}d", _d, _spread(2**_d), False),
    )

register(
    _rule("upsample_bicubic2d", 2, _spread(16), False, keeps_format=False),
    _rule("_upsample_bilinear2d_aa", 2, _antialiased(1), False, temporaries=_by_rows),
    _rule("_upsample_bicubic2d_aa", 2, _antialiased(2), False, keeps_format=False),
)
