"""Parameters by what a token uses of them, and what they take where they are packed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

from costmodel.profiling import Profile

if TYPE_CHECKING:
    from costmodel.graph import OpCall, TensorSpec

PACKED = {"int8": (8, None), "int4": (4, 128)}
"""Bits of a weight, and how many consecutive weights of a row have a scale in common: ``None`` for the whole row."""

_SCALE_BYTES = 2
_TABLE = 3
"""Dimensions of the weights of a mixture's experts, the expert first."""


def packed_bytes(p: Profile, packing: str, heads: frozenset[int] = frozenset()) -> dict[int, int]:
    """Bytes of each parameter by its storage, with the weights of linear layers and experts packed.

    A scale of two bytes (float16) belongs to each row, or to each group of a row. As quantisation for inference leaves
    them (LLM.int8(), arXiv:2208.07339; GPTQ, arXiv:2210.17323; AWQ, arXiv:2306.00978), embeddings, norms, convolutions
    and the output head (``heads``) stay as they are.
    """
    bits, group = PACKED[packing]
    used = _users(p)
    found = {}
    for parameter in p.graph.parameters().values():
        found[parameter.storage] = parameter.nbytes
        kinds = {kind for _, kind in used.get(parameter.storage, ())}
        if len(parameter.shape) > 1 and parameter.storage not in heads and kinds and kinds <= {"linear", "matmul"}:
            *rows, columns = parameter.shape
            scales = prod(rows) * (1 if group is None else -(-columns // group))
            found[parameter.storage] = -(-parameter.size * bits // 8) + scales * _SCALE_BYTES
    return found


def shares(p: Profile, tokens: int) -> dict[int, Fraction]:
    """How much of each parameter one token uses, by its storage: all of it, or of a mixture's experts those it goes to.

    Args:
        p: a call with so many tokens.
        tokens: of all its samples together.
    """
    used = _users(p)
    found = {}
    for parameter in p.graph.parameters().values():
        calls = [call for call, _ in used.get(parameter.storage, ())]
        parts = (_share(call, parameter, tokens) for call in calls)
        found[parameter.storage] = max(parts, default=Fraction(0))
    return found


def looked_up(p: Profile) -> Mapping[int, int]:
    """Of parameters from which only rows are looked up, as embeddings, the bytes of those rows, by storage."""
    found = {}
    for storage, calls in _users(p).items():
        if {kind for _, kind in calls} == {"embedding"}:
            found[storage] = sum(output.nbytes for call, _ in calls for output in call.outputs)
    return found


def _users(p: Profile) -> dict[int, list[tuple[OpCall, str]]]:
    """The ops that read each parameter, views apart, with their kinds."""
    found: dict[int, list[tuple[OpCall, str]]] = {}
    for op in p.pricing.ops:
        if op.rule is not None and op.rule.free_because is None:
            for _, tensor in op.call.tensors():
                if tensor.role == "parameter":
                    found.setdefault(tensor.storage, []).append((op.call, op.kind))
    return found


def _share(call: OpCall, parameter: TensorSpec, tokens: int) -> Fraction:
    """Where every row of a product goes to one expert of a table, or rows of the table are looked up for each token."""
    if len(parameter.shape) < _TABLE:
        return Fraction(1)
    experts = parameter.shape[0]
    if "grouped_mm" in call.op:
        rows = call.args["self"].shape[-2] // tokens
        return min(Fraction(rows, experts), Fraction(1))
    if call.op.startswith(("aten.index.", "aten.index_select.", "aten.embedding.")):
        return min(Fraction(call.outputs[0].size, parameter.size * tokens), Fraction(1))
    return Fraction(1)
