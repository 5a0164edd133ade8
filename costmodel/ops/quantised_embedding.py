"""Embeddings of quantised rows, each with a scale and a zero point of its own: looked up, or summed by bags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import PER_BYTE, Arguments, OpCall, TensorSpec
from costmodel.ops.quantisation import DEQUANTISED, SOURCE
from costmodel.ops.rule import Outputs, Rule, always, no_temporaries, register_quantised
from costmodel.quantities import Traffic, Work


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table."""

    features: int
    nbytes: int
    """With its scale and zero point."""


def _packed(args: Arguments) -> _Row:
    (table,) = args["weight"]
    rows, features = table.shape
    return _Row(features, -(-features // PER_BYTE.get(table.dtype, 1)) + table.scale_bytes // max(rows, 1))


def _in_bytes(per_byte: int, beside: int) -> Callable[[Arguments], _Row]:
    """Of a tensor of bytes, of which each row ends in its scale and zero point, ``beside`` bytes."""

    def row(args: Arguments) -> _Row:
        columns = args["weight"].shape[1]
        return _Row((columns - beside) * per_byte, columns)

    return row


RowOf = Callable[[Arguments], _Row]


def _bags(args: Arguments) -> int:
    if args["offsets"] is None:
        return int(args["indices"].shape[0])
    return int(args["offsets"].shape[0]) - bool(args["include_last_offset"])


def _outputs(row_of: RowOf, bags: bool) -> Callable[[Arguments], Outputs]:
    def outputs(args: Arguments) -> TensorSpec:
        rows = (_bags(args),) if bags else args["indices"].shape
        return TensorSpec((*rows, row_of(args).features), "float32")

    return outputs


def _work(row_of: RowOf, bags: bool) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        looked_up = call.args["indices"].size * row_of(call.args).features
        numbers = DEQUANTISED.times(looked_up)
        if not bags:
            return numbers
        # A bag of k rows takes k - 1 additions a feature; every bag is taken to hold at least one index.
        weighted = looked_up if call.args["per_sample_weights"] is not None else 0
        return numbers + Work(adds=max(looked_up - call.outputs[0].size, 0), multiplies=weighted)

    return work


def _traffic(row_of: RowOf) -> Callable[[OpCall], Traffic]:
    def traffic(call: OpCall) -> Traffic:
        """A row of the table for every index."""
        indices, row, (y,) = call.args["indices"], row_of(call.args), call.outputs
        small = [t for name, t in call.tensors() if not name.startswith("weight")]
        return Traffic(
            read=indices.size * row.features + sum(t.size for t in small),
            read_bytes=indices.size * row.nbytes + sum(t.nbytes for t in small),
            written=y.size,
            written_bytes=y.nbytes,
        )

    return traffic


def _access(call: OpCall, output: int) -> AccessMap:
    return {"indices": tuple(map(Affine, range(len(call.args["indices"].shape))))}


def _bag_access(call: OpCall, output: int) -> AccessMap:
    return {"indices": (All(),) * len(call.args["indices"].shape)}


def _pruned(call: OpCall) -> str | None:
    mapped = call.args.get("compressed_indices_mapping") is not None
    return "which rows of the table were pruned is a matter of values: each index counts as a row" if mapped else None


def _offsets(args: Arguments) -> list[TensorSpec]:
    """Where bags begin, if all are of one size and nothing says it."""
    return [TensorSpec((_bags(args),), "int64")] if args["offsets"] is None else []


def _rule(target: str, row_of: RowOf, *, bags: bool) -> Rule:
    return Rule(
        targets=(f"quantized.{target}.default",), kind=always("embedding"), outputs=_outputs(row_of, bags),
        work=_work(row_of, bags), traffic=_traffic(row_of), access=_bag_access if bags else _access,
        temporaries=_offsets if bags else no_temporaries, fusible=False,
        source=f"torch.nn.EmbeddingBag; {SOURCE}", free_because=None, examples=(), bound_because=_pruned,
    )  # fmt: skip


register_quantised(
    *(_rule(f"embedding_{bits}", _packed, bags=False) for bits in ("byte", "4bit")),
    *(_rule(f"embedding_bag_{bits}", _packed, bags=True) for bits in ("byte", "4bit")),
    *(
        _rule(f"embedding_bag_{bits}_rowwise_offsets", _in_bytes(per_byte, beside), bags=True)
        for bits, per_byte, beside in (("byte", 1, 8), ("4bit", 2, 4), ("2bit", 4, 4))
    ),
)
