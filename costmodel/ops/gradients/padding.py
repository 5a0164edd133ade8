"""Gradients of padding with what is inside: each gradient is added to the element that it was copied from."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.rule import Rule, always, example, moved, register
from costmodel.ops.temporaries import contiguous, in_format_of
from costmodel.quantities import Traffic, Work


def _outputs(keeps_format: bool) -> Callable[[Arguments], TensorSpec]:
    def outputs(args: Arguments) -> TensorSpec:
        x = args["self"]
        return TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape) if keeps_format else None)

    return outputs


def _traffic(call: OpCall) -> Traffic:
    # Of the input, only its shape is used.
    return moved([call.args["grad_output"]], call.outputs)


def _work(call: OpCall) -> Work:
    return Work(adds=call.args["grad_output"].size)


def _rule(mode: str, axes: int) -> Rule:
    x, sides = TensorSpec((2, 3, 6, 5, 4)[: 2 + axes]), [1, 2, 0, 1, 2, 1][: 2 * axes]
    before, after = sides[::2], sides[1::2]
    size = (n + a + b for n, a, b in zip(x.shape[2:], reversed(before), reversed(after), strict=True))
    outputs = _outputs(axes >= 2)
    temporaries = (
        in_format_of("grad_output", "grad_output", outputs=outputs) if axes >= 2 else contiguous("grad_output")
    )
    return Rule(
        targets=(f"aten.{mode}_pad{axes}d_backward.default",), kind=always("other"), outputs=outputs,
        work=_work, traffic=_traffic, access=everything, temporaries=temporaries, fusible=False,
        source=f"torch.nn.functional.pad, mode {mode}", free_because=None,
        examples=(example(TensorSpec((2, 3, *size)), x, sides),),
    )  # fmt: skip


register(*(_rule(mode, axes) for mode in ("reflection", "replication") for axes in (1, 2, 3)))
