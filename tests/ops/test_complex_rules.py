"""Every rule on complex numbers against itself on real ones, by the definition, or with the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops import RULES
from costmodel.ops.rule import Example
from costmodel.quantities import Work
from tests.ops._binding import RealCall, resolve, runnable
from tests.ops.test_complex import FUNCTIONS

COMPLEX = (torch.complex64, torch.complex128)


def by_definition(real: Work) -> Work:
    """Operations on complex numbers by the table of docs/definitions.md, but for functions."""
    return Work(
        macs=4 * real.macs,
        adds=2 * (real.adds + real.multiplies) + 3 * real.divides,
        multiplies=4 * real.multiplies + 6 * real.divides,
        divides=2 * real.divides,
        compares=2 * real.compares,
        macs_on_padding=4 * real.macs_on_padding,
    )


ROOTS = "roots of norms and pivots are real, and one each"
SIZES = "takes absolute values, or the sizes of parts"
STATED: dict[str, str] = {
    "abs": "sqrt(a a + b b)", "sgn": "z / |z|", "angle": "atan2 of the parts", "_foreach_abs": "sqrt(a a + b b)",
    **dict.fromkeys(("cholesky", "linalg_cholesky_ex", "geqrf", "linalg_qr", "linalg_lstsq"), ROOTS),
    "_linalg_slogdet": "logarithms of absolute values", "linalg_matrix_sqrth": ROOTS,
    **dict.fromkeys(("linalg_vector_norm", "norm", "_foreach_norm", "_foreach_powsum", "dist", "allclose"), SIZES),
    **dict.fromkeys(("renorm", "embedding_renorm"), SIZES),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), "of real and imaginary parts, added"),
    "count_nonzero": "counts with integers",
    **dict.fromkeys(("logsumexp", "logaddexp", "logcumsumexp"), "compares real parts"),
    **dict.fromkeys(("_fft_c2c", "_fft_c2r"), "counts real operations"),
}  # fmt: skip
"""Ops whose complex version is not their real one operation by operation, by name, with the reason."""


def _with(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, TensorSpec):
        return TensorSpec(value.shape, change(value.dtype), value.strides)
    return [_with(v, change) for v in value] if isinstance(value, (list, tuple)) else value


def _to_complex(dtype: str) -> str:
    return {"float32": "complex64", "float64": "complex128"}.get(dtype, dtype)


def _to_real(dtype: str) -> str:
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def _real_version(call: OpCall) -> OpCall:
    args = {name: _with(value, _to_real) for name, value in call.args.items()}
    return OpCall(call.op, args, tuple(_with(y, _to_real) for y in call.outputs), inplace=call.inplace)


def complex_examples() -> Iterator[OpCall]:
    """The examples of every rule with complex tensors in the place of floating ones, that torch runs."""
    for target, rule in RULES.items():
        op = runnable(target) if resolve(target) is not None else None
        for example in rule.examples if op is not None else ():
            args = tuple(_with(a, _to_complex) for a in example.args)
            call = RealCall.of(op, Example(args, {k: _with(v, _to_complex) for k, v in example.kwargs.items()}))
            if any(t.dtype in COMPLEX for _, t in call.tensors()):
                try:
                    results = call.run()
                except (RuntimeError, NotImplementedError, IndexError, TypeError, ValueError, AssertionError):
                    continue  # torch has no complex version
                yield call.record(results)


def name_of(op: str) -> str:
    """``aten.exp_.default`` is ``exp``."""
    return op.split(".")[1].removesuffix("_")


def test_every_rule_counts_complex_numbers_by_their_parts() -> None:
    """Whatever op torch runs on complex tensors costs its real version by the definition, or stands in the list."""
    seen, exceptions, wrong = 0, set(), []
    for call in complex_examples():
        rule, name = RULES[call.op], name_of(call.op)
        real, ours = rule.work(_real_version(call)), rule.work(call)
        seen += 1
        function = FUNCTIONS.get(name.removeprefix("_foreach_"))
        if name in STATED:
            if ours != by_definition(real):
                exceptions.add(name)
        elif real.transcendentals:
            # test_complex.py has what functions cost; here, they must be known, and the rest be by the definition.
            rest = by_definition(Work(**{k: getattr(real, k) for k in Work.__slots__ if k != "transcendentals"}))
            known = function is not None or name in HAS_FUNCTIONS
            more = [getattr(ours, kind) - getattr(rest, kind) for kind in Work.__slots__]
            if not known or min(more) < 0:
                wrong.append((call.op, real, ours))
        elif ours != by_definition(real):
            wrong.append((call.op, real, ours))
    assert not wrong
    assert seen > 300
    assert set(STATED) - exceptions <= NOT_AMONG_EXAMPLES


HAS_FUNCTIONS = frozenset({
    "pow", "_foreach_pow", "rms_norm", "_fused_rms_norm", "lstm", "lstm_cell", "gru", "gru_cell", "rnn_tanh",
    "rnn_tanh_cell", "ldexp", "linalg_matrix_exp", "soft_margin_loss", "soft_margin_loss_backward", "silu_backward",
})  # fmt: skip
"""Ops of functions and other operations: in test_complex.py, or with functions that all count as an exponential."""
NOT_AMONG_EXAMPLES = frozenset({"cholesky", "linalg_matrix_sqrth", "_foreach_powsum"})
"""Exceptions that not every version of torch has."""
