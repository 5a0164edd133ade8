"""Window functions of signal processing: one value for each of N samples."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import nothing
from costmodel.ops.defaults import default_float
from costmodel.ops.rule import Example, Rule, always, example, outputs_only, register
from costmodel.quantities import Work

_COSINE = Work(multiplies=2, transcendentals=1, adds=1)
"""a - b cos(w n)"""
_TWO_COSINES = Work(multiplies=4, transcendentals=2, adds=2)
"""0.42 - 0.5 cos(w n) + 0.08 cos(2 w n)"""
_TRIANGLE = Work(multiplies=1, adds=2)
"""1 - |2 n / N - 1|"""
_KAISER = Work(multiplies=3, adds=2, transcendentals=2, divides=1)
"""I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)"""


_TENSORS = {_TWO_COSINES: 4, _KAISER: 1}
"""How many intermediate tensors torch allocates for a window; those of one cosine are computed in place."""


def _outputs(args: Arguments) -> TensorSpec:
    return TensorSpec((args["window_length"],), args["dtype"] or default_float())


def _besides(n: int) -> Callable[[Arguments], list[TensorSpec]]:
    """So many tensors like the window."""
    return lambda args: [_outputs(args)] * (n if args["window_length"] > 1 else 0)


def _window(target: str, each: Work, case: Example) -> Rule:
    def work(call: OpCall) -> Work:
        # A window of one sample is 1.
        n = call.args["window_length"]
        return each.times(n) if n > 1 else Work()

    return Rule(
        targets=(target,), kind=always("other"), outputs=_outputs, work=work, traffic=outputs_only, access=nothing,
        temporaries=_besides(_TENSORS.get(each, 0)), fusible=False, free_because=None, examples=(case,),
        source="Harris, On the use of windows for harmonic analysis, Proc. IEEE 66 (1978)",
    )  # fmt: skip


register(
    *(
        _window(f"aten.{name}_window.{overload}", each, case)
        for name, each in (
            ("hann", _COSINE), ("hamming", _COSINE), ("blackman", _TWO_COSINES), ("bartlett", _TRIANGLE),
            ("kaiser", _KAISER),
        )
        for overload, case in (("default", example(8)), ("periodic", example(7, False)))
    ),
    _window("aten.hamming_window.periodic_alpha", _COSINE, example(8, True, 0.5)),
    _window("aten.hamming_window.periodic_alpha_beta", _COSINE, example(8, True, 0.5, 0.5)),
    _window("aten.kaiser_window.beta", _KAISER, example(8, True, 12.0)),
)  # fmt: skip
