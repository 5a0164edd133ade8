"""Fourier transforms, by the radix-2 count."""

from __future__ import annotations

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import OpCall, TensorSpec
from costmodel.ops.access import all_of
from costmodel.ops.rule import Rule, Torch, always, every_argument, example, no_temporaries, register
from costmodel.ops.sorting import log2_ceil
from costmodel.quantities import Work

_COMPLEX = TensorSpec((2, 4, 8), "complex64")
_HALF = TensorSpec((2, 4, 5), "complex64")
_REAL = TensorSpec((2, 4, 8))


def _butterflies(full: tuple[int, ...], dims: list[int]) -> int:
    """Half as many butterflies as points, at each of log2 n levels, along each dimension."""
    points = 1
    for n in full:
        points *= n
    return sum(points // 2 * log2_ceil(full[d]) for d in dims)


def _work(full: tuple[int, ...], call: OpCall, real: bool) -> Work:
    # A butterfly is a complex product (4 multiplies, 2 adds) and two complex sums (4 adds); a real transform is half.
    n = _butterflies(full, call.args["dim"]) // (2 if real else 1)
    scaled = call.outputs[0].size if call.args["normalization"] else 0
    return Work(multiplies=4 * n + scaled, adds=6 * n)


def _complex_work(call: OpCall) -> Work:
    return _work(call.args["self"].shape, call, real=False)


def _from_real_work(call: OpCall) -> Work:
    return _work(call.args["self"].shape, call, real=True)


def _to_real_work(call: OpCall) -> Work:
    return _work(call.outputs[0].shape, call, real=True)


def _access(call: OpCall, output: int) -> AccessMap:
    if call.args["self"].shape == call.outputs[0].shape:
        return all_of("self", call.args["dim"])(call, output)
    rank = len(call.args["self"].shape)
    mixed = {d % rank for d in call.args["dim"]}
    return {"self": tuple(All() if d in mixed else Affine(d) for d in range(rank))}


register(
    *(
        Rule(targets=(target,), kind=always("other"), outputs=Torch.META, work=work, traffic=every_argument,
             access=_access, temporaries=no_temporaries, fusible=False,
             source="Cooley & Tukey, Math. Comp. 19 (1965): 10 operations a butterfly",
             free_because=None, examples=(case,))
        for target, work, case in (
            ("aten._fft_c2c.default", _complex_work, example(_COMPLEX, [1, 2], 0, True)),
            ("aten._fft_r2c.default", _from_real_work, example(_REAL, [1, 2], 1, True)),
            ("aten._fft_c2r.default", _to_real_work, example(_HALF, [1, 2], 2, 8)),
        )
    ),
)  # fmt: skip
