"""What kind of layer a run of ops is: that of one of them, or a norm that is written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costmodel.pricing import TracedLayer

_STATISTICS = {"mean", "sum", "var", "var_mean", "std", "std_mean", "norm", "linalg_vector_norm"}
_ROOTS = {"rsqrt", "sqrt", "std", "std_mean", "norm", "linalg_vector_norm"}
"""Ops by which a module normalises what it is given, where it is not one of torch's own norms."""


def kind_of(layer: TracedLayer) -> str:
    """One of ``costmodel.ops.KINDS``: what the layer says itself, or the kind of the op that does most."""
    if layer.module is not None and layer.module.layer is not None and layer.module.layer.kind:
        return layer.module.layer.kind
    if not layer.ops:
        return "other"
    if _normalises(layer):
        return "norm"
    works = [(op.work, op) for op in layer.ops]
    return max(works, key=lambda w: (w[0].macs, w[0].flops, w[1].traffic.elements, w[1].kind != "view"))[1].kind


def _normalises(layer: TracedLayer) -> bool:
    """Whether it is a norm that is written out, as the RMSNorm of most language models.

    It multiplies no matrices, keeps its input's shape, and takes a root of a statistic of it.
    """
    if layer.module is None or len(layer.ops) < 2 or any(op.work.macs for op in layer.ops):
        return False
    names = {name for op in layer.ops for name in op.call.op.split(".")[1:2]}
    if not (names & _STATISTICS and names & _ROOTS):
        return False
    given, made = next(iter(layer.inputs), None), next(iter(layer.outputs), None)
    return given is not None and made is not None and given.shape == made.shape
