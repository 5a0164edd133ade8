"""Reading and writing by index: what is looked up is moved, the rest of the table is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.movement import copy
from costmodel.ops.rule import Rule, Torch, always, example, moved, no_temporaries, register
from costmodel.ops.temporaries import cast, contiguous
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 3, 4))
_INDEX = TensorSpec((2, 1, 4), "int64")
_ROWS = TensorSpec((5,), "int64")
_MASK = TensorSpec((2, 3), "bool")


def looked_up(call: OpCall) -> Traffic:
    """The indices are read, and of the table as many elements as are written."""
    (y,) = call.outputs
    indices = moved((t for name, t in call.tensors() if name != "self"), ())
    table = call.args["self"].itemsize
    return indices + Traffic(
        read=y.size, read_bytes=y.size * table, written=y.size, written_bytes=y.size * y.itemsize
    )  # fmt: skip


def _positions(indices: Sequence[Any]) -> tuple[list[int], bool]:
    """The indexed dimensions, and whether they stand side by side."""
    dims = [d for d, index in enumerate(indices) if index is not None]
    return dims, dims == list(range(dims[0], dims[-1] + 1))


def _indexed(x: TensorSpec, indices: Sequence[Any]) -> tuple[tuple[int, ...], int]:
    """The shape of ``x[indices]``, and where the indexed dimensions' broadcast shape begins in it."""
    if any(i is not None and i.dtype in ("bool", "uint8") for i in indices):
        raise NeedsValuesError("the number of selected elements depends on the mask's values")
    dims, adjacent = _positions(indices)
    if len(indices) > len(x.shape):
        raise ValueError(f"{len(indices)} indices for a tensor of {len(x.shape)} dimensions {x.shape}")
    looked = layout.broadcast([indices[d].shape for d in dims])
    kept = [n for d, n in enumerate(x.shape) if d not in dims]
    # Indices that stand apart move to the front.
    begin = dims[0] if adjacent else 0
    return (*kept[:begin], *looked, *kept[begin:]), begin


def _index(args: Arguments) -> TensorSpec:
    x, indices = args["self"], args["indices"]
    shape, begin = _indexed(x, indices)
    if x.is_contiguous and begin == 0:
        return TensorSpec(shape, x.dtype)
    # The output has the memory order of the kept dimensions; indexed ones have no order of their own.
    dims, _ = _positions(indices)
    given = [indices[d] for d in dims]
    rank = len(layout.broadcast([i.shape for i in given]))
    kept = [s for d, s in enumerate(x.full_strides) if d not in dims]
    table = (*kept[:begin], *(0,) * rank, *kept[begin:])
    after = (1,) * (len(kept) - begin)
    aligned = [TensorSpec(i.shape + after, i.dtype, i.full_strides + (0,) * len(after)) for i in given]
    return TensorSpec(shape, x.dtype, layout.strides_of_operands(shape, [TensorSpec(shape, x.dtype, table), *aligned]))


def _index_access(call: OpCall, output: int) -> AccessMap:
    x, indices = call.args["self"], call.args["indices"]
    dims, _ = _positions(indices)
    if any(i is not None and i.dtype in ("bool", "uint8") for i in indices):
        return everything(call, output)
    _, begin = _indexed(x, indices)
    rank = len(layout.broadcast([indices[d].shape for d in dims]))
    outside = iter([*range(begin), *range(begin + rank, len(call.outputs[0].shape))])
    access: dict[str, tuple[AxisMap, ...]] = {
        "self": tuple(All() if d in dims else Affine(next(outside)) for d in range(len(x.shape)))
    }
    for d in dims:
        shape = indices[d].shape
        last = begin + rank - len(shape)
        access[f"indices[{d}]"] = tuple(All() if n == 1 else Affine(last + i) for i, n in enumerate(shape))
    return access


def _index_select(args: Arguments) -> TensorSpec:
    x, index = args["self"], args["index"]
    if not x.shape:
        return TensorSpec((), x.dtype)
    dim = args["dim"] % len(x.shape)
    return TensorSpec((*x.shape[:dim], index.size, *x.shape[dim + 1 :]), x.dtype)


def _mixed(call: OpCall, *names: str) -> dict[str, tuple[AxisMap, ...]]:
    # Which position along ``dim`` is meant stands in the index: any of them.
    rank = len(call.args["self"].shape)
    dim = call.args["dim"] % rank if rank else 0
    axis_maps: tuple[AxisMap, ...] = tuple(All() if d == dim else Affine(d) for d in range(rank))
    return {name: axis_maps for name in names if type(call.args.get(name)) is TensorSpec}


def _index_select_access(call: OpCall, output: int) -> AccessMap:
    dim = call.args["dim"] % max(len(call.args["self"].shape), 1)
    return {**_mixed(call, "self"), "index": (Affine(dim),) * len(call.args["index"].shape)}


def _contiguous_table(args: Arguments) -> list[TensorSpec]:
    """torch has a kernel of its own for the second dimension, which wants the table contiguous."""
    x = args["self"]
    return [TensorSpec(x.shape, x.dtype)] if not x.is_contiguous and args["dim"] % len(x.shape) == 1 else []


def _running_count(args: Arguments) -> list[TensorSpec]:
    """Where each selected element goes: the mask as numbers, summed."""
    return [TensorSpec(layout.broadcast([args["self"].shape, args["mask"].shape]), "int64")]


def _running_sum(args: Arguments) -> list[TensorSpec]:
    """Where each element's repeats end; and whether any of them is negative."""
    n = args["repeats"]
    total = TensorSpec(n.shape, "int64")
    return [total] if has(Change.REPEATS_CHECKED_FIRST) else [total, TensorSpec(n.shape, "bool")]


def _counted_for_a_mean(args: Arguments) -> list[TensorSpec]:
    """How many elements go into each mean: ones, scattered alike; and where that is none."""
    x, src = args["self"], args.get("src", args.get("source"))
    if args.get("reduce") != "mean" or src is None:
        return list(cast("index", "int64")(args)) if "source" not in args else []
    counted = [TensorSpec(src.shape, x.dtype)]
    if args["include_self"]:
        counted.append(TensorSpec(x.shape, x.dtype))
    return counted if "source" in args else [*counted, TensorSpec(x.shape, "bool")]


def _gather(args: Arguments) -> TensorSpec:
    return TensorSpec(args["index"].shape, args["self"].dtype)


def _gather_access(call: OpCall, output: int) -> AccessMap:
    return {**_mixed(call, "self"), "index": tuple(map(Affine, range(len(call.args["index"].shape))))}


def _scatter_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {"self": tuple(map(Affine, range(rank))), **_mixed(call, "index", "src")}


def _index_add_access(call: OpCall, output: int) -> dict[str, tuple[AxisMap, ...]]:
    rank = len(call.args["self"].shape)
    return {"self": tuple(map(Affine, range(rank))), **_mixed(call, "source"), "index": (All(),)}


def _index_fill_access(call: OpCall, output: int) -> AccessMap:
    """Beside what is filled, a value of no dimensions."""
    return {**_index_add_access(call, output), "value": ()}


def _index_put_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {**everything(call, output), "self": tuple(map(Affine, range(rank)))}


def _like_self(args: Arguments) -> TensorSpec:
    x = args["self"]
    return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))


def _masked_scatter(args: Arguments) -> TensorSpec:
    x, mask = args["self"], args["mask"]
    return TensorSpec(layout.broadcast([x.shape, mask.shape]), x.dtype)


def _contiguous(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _put(call: OpCall, count: int, *, read_back: bool) -> Traffic:
    """Out of place everything is copied over; in place only the ``count`` elements that the index names are touched."""
    x = call.args["self"]
    given = moved((t for name, t in call.tensors() if name != "self"), ())
    if not call.inplace:
        return given + moved([x], call.outputs)
    old = count if read_back else 0
    return given + Traffic(read=old, read_bytes=old * x.itemsize, written=count, written_bytes=count * x.itemsize)


def _accumulates(call: OpCall) -> bool:
    reduces = call.args.get("reduce") is not None or "add" in call.op
    return reduces or bool(call.args.get("accumulate"))


def _scatter_traffic(call: OpCall) -> Traffic:
    return _put(call, call.args["index"].size, read_back=_accumulates(call))


def _index_add_traffic(call: OpCall) -> Traffic:
    return _put(call, call.args["source"].size, read_back=_accumulates(call))


def _put_size(call: OpCall) -> int:
    x, indices = call.args["self"], call.args["indices"]
    if any(i is not None and i.dtype in ("bool", "uint8") for i in indices):
        return max(int(call.args["values"].size), 1)
    return prod(_indexed(x, indices)[0])


def _index_put_traffic(call: OpCall) -> Traffic:
    return _put(call, _put_size(call), read_back=_accumulates(call))


def _masked_scatter_traffic(call: OpCall) -> Traffic:
    return moved((t for _, t in call.tensors()), call.outputs)


def _index_fill_traffic(call: OpCall) -> Traffic:
    x = call.args["self"]
    rows = call.args["index"].size
    along = x.shape[call.args["dim"]] if x.shape else 1
    return _put(call, x.size // along * rows if along else 0, read_back=False)


_REDUCES = {
    "sum": Work(adds=1), "add": Work(adds=1), "prod": Work(multiplies=1), "multiply": Work(multiplies=1),
    "amax": Work(compares=1), "amin": Work(compares=1), "mean": Work(adds=1),
}  # fmt: skip


def _scatter_work(call: OpCall) -> Work:
    # Every scattered element meets the one that is there; a mean is then divided by its count.
    work = _REDUCES[call.args["reduce"]].times(call.args["index"].size)
    return work + Work(divides=call.outputs[0].size) if call.args["reduce"] == "mean" else work


def _scatter_add_work(call: OpCall) -> Work:
    return Work(adds=call.args["index"].size)


def _index_add_work(call: OpCall) -> Work:
    n = call.args["source"].size
    return Work(adds=n, multiplies=n if call.args["alpha"] != 1 else 0)


def _index_reduce_work(call: OpCall) -> Work:
    work = _REDUCES[call.args["reduce"]].times(call.args["source"].size)
    return work + Work(divides=call.outputs[0].size) if call.args["reduce"] == "mean" else work


def _put_work(call: OpCall) -> Work:
    return Work(adds=call.args["index"].size) if call.args["accumulate"] else Work()


def _masked(args: Arguments) -> TensorSpec:
    # Where the mask is false, a fill: nothing has to be inside the table there.
    shape, _ = _indexed(args["self"], args["indices"])
    return TensorSpec(shape, args["self"].dtype)


def _masked_and_looked_up(args: Arguments) -> list[TensorSpec]:
    """Where the mask is false, indices that lie in the table, and what they look up before it is filled."""
    mask = args["mask"]
    return [TensorSpec(mask.shape, "bool"), *_indices_in_table(args), _masked(args)]


def _masked_values(args: Arguments) -> list[TensorSpec]:
    """Indices that lie in the table, and the values without those that the mask leaves out."""
    return [*_indices_in_table(args), TensorSpec(args["values"].shape, args["values"].dtype)]


def _indices_in_table(args: Arguments) -> list[TensorSpec]:
    return [TensorSpec(i.shape, i.dtype) for i in args["indices"] if i is not None]


def _values_added(call: OpCall) -> Work:
    return Work(adds=call.args["values"].size)


def _values_added_traffic(call: OpCall) -> Traffic:
    return _put(call, call.args["values"].size, read_back=True)


def _index_put_work(call: OpCall) -> Work:
    return Work(adds=_put_size(call)) if call.args["accumulate"] else Work()


def _each_by_axis(args: Mapping[str, Any]) -> list[tuple[Any, range]]:
    sizes = args["self"].shape
    if any(index is not None and str(index.dtype) in ("torch.bool", "torch.uint8") for index in args["indices"]):
        return []  # a mask takes as many axes as it has
    return [(index, range(-n, n)) for index, n in zip(args["indices"], sizes, strict=False) if index is not None]


def _along_axis(args: Mapping[str, Any]) -> list[tuple[Any, range]]:
    sizes = args["self"].shape or (1,)
    return [(args["index"], range(sizes[args["dim"]]))]


def _of_all(args: Mapping[str, Any]) -> list[tuple[Any, range]]:
    n = args["self"].numel()
    return [(args["index"], range(-n, n))]


_SOURCE = "torch.Tensor indexing: a copy by index"

register(
    copy("aten.index.Tensor", "aten._unsafe_index.Tensor", outputs=_index, access=_index_access, traffic=looked_up,
         indices=_each_by_axis, source=_SOURCE, examples=(
             example(_X, [None, _ROWS]), example(_X, [TensorSpec((2, 1), "int64"), None, TensorSpec((3,), "int64")]),
             example(_X, [_ROWS, _ROWS]), example(_X, [TensorSpec((2, 2), "int64")]),
         )),
    copy("aten.index_select.default", outputs=_index_select, access=_index_select_access, traffic=looked_up,
         temporaries=_contiguous_table, indices=_along_axis,
         source=_SOURCE, examples=(example(_X, 1, _ROWS), example(_X, -1, _ROWS))),
    copy("aten.gather.default", outputs=_gather, access=_gather_access, traffic=looked_up, source=_SOURCE,
         temporaries=cast("index", "int64"), indices=_along_axis,
         examples=(example(_X, 1, _INDEX),)),
    copy("aten.take.default", outputs=_gather, access=everything, traffic=looked_up, source=_SOURCE,
         indices=_of_all, examples=(example(_X, _ROWS),)),
    copy("aten.masked_select.default", outputs=Torch.META, access=everything, source=_SOURCE,
         temporaries=_running_count,
         examples=(example(_X, TensorSpec((2, 3, 4), "bool")),)),
    copy("aten.nonzero.default", outputs=Torch.META, access=everything, source=_SOURCE, examples=(example(_X),)),
    copy("aten.repeat_interleave.Tensor", outputs=Torch.META, access=everything, source=_SOURCE,
         temporaries=_running_sum,
         examples=(example(_ROWS),)),
    copy("aten.scatter.src", "aten.scatter_.src", outputs=_contiguous, access=_scatter_access, traffic=_scatter_traffic,
         temporaries=cast("index", "int64"), source=_SOURCE, examples=(example(_X, 1, _INDEX, _X),)),
    copy("aten.scatter.value", "aten.scatter_.value", outputs=_contiguous, access=_scatter_access,
         traffic=_scatter_traffic, temporaries=cast("index", "int64"), source=_SOURCE,
         examples=(example(_X, -2, _INDEX, 1.0),)),
    Rule(targets=("aten.index_put.default", "aten.index_put_.default", "aten._index_put_impl_.default",
                  "aten._unsafe_index_put.default"), kind=always("other"), outputs=_like_self, work=_index_put_work,
         traffic=_index_put_traffic, access=_index_put_access,
         temporaries=no_temporaries, fusible=False, source=_SOURCE, free_because=None,
         examples=(example(_X, [None, _ROWS], TensorSpec((5, 4))), example(_X, [_MASK], TensorSpec(())),
                   example(_X, [None, _ROWS], TensorSpec((5, 4)), True))),
    copy("aten.index_copy.default", "aten.index_copy_.default", outputs=_contiguous, access=_index_add_access,
         traffic=_index_add_traffic, source=_SOURCE, examples=(example(_X, 1, _ROWS, TensorSpec((2, 5, 4))),)),
    copy("aten.index_fill.int_Scalar", "aten.index_fill_.int_Scalar", outputs=_like_self, access=_index_add_access,
         traffic=_index_fill_traffic, source=_SOURCE, examples=(example(_X, 1, _ROWS, 2.0),)),
    copy("aten.index_fill.int_Tensor", "aten.index_fill_.int_Tensor", outputs=_like_self, access=_index_fill_access,
         traffic=_index_fill_traffic, source=_SOURCE, examples=(example(_X, 1, _ROWS, TensorSpec(())),)),
    copy("aten.nonzero_static.default", access=everything, source=_SOURCE, examples=(example(_X, size=3),),
         outputs=lambda args: TensorSpec((args["size"], len(args["self"].shape)), "int64")),
    copy("aten._unsafe_masked_index.default", outputs=_masked, access=everything, traffic=looked_up,
         temporaries=_masked_and_looked_up,
         source=_SOURCE,
         examples=(example(_X, TensorSpec((2, 5, 4), "bool"), [None, _ROWS], 0.0),)),
    copy("aten.masked_scatter.default", "aten.masked_scatter_.default", outputs=_masked_scatter,
         temporaries=contiguous("source"), access=_index_put_access,
         traffic=_masked_scatter_traffic, source=_SOURCE, examples=(example(_X, TensorSpec((3, 1), "bool"), _X),)),
    *(
        Rule(targets=targets, kind=always("other"), outputs=_like_self, work=work, traffic=traffic,
             access=_index_put_access, temporaries=temporaries, fusible=False,
             source="torch.Tensor.put_: one addition per element, where they accumulate", free_because=None,
             examples=(case,))
        for targets, work, traffic, temporaries, case in (
            (("aten.put.default", "aten.put_.default"), _put_work, _scatter_traffic, no_temporaries,
             example(_X, _ROWS, TensorSpec((5,)), True)),
            (("aten._unsafe_masked_index_put_accumulate.default",), _values_added, _values_added_traffic,
             _masked_values,
             example(_X, TensorSpec((2, 5, 4), "bool"), [None, _ROWS], TensorSpec((2, 5, 4)))),
        )
    ),
    *(
        Rule(targets=targets, kind=always("other"), outputs=_contiguous, work=work, traffic=traffic, access=access,
             temporaries=_counted_for_a_mean, fusible=False,
             source="torch.Tensor.scatter_reduce, index_add: one operation per element scattered",
             free_because=None, examples=examples)
        for targets, work, traffic, access, examples in (
            (("aten.scatter_add.default", "aten.scatter_add_.default"), _scatter_add_work, _scatter_traffic,
             _scatter_access, (example(_X, 1, _INDEX, _X),)),
            (("aten.scatter_reduce.two", "aten.scatter_reduce_.two"), _scatter_work, _scatter_traffic,
             _scatter_access, (example(_X, 1, _INDEX, _X, "amax"), example(_X, 1, _INDEX, _X, "mean"))),
            (("aten.scatter.reduce", "aten.scatter_.reduce"), _scatter_work, _scatter_traffic,
             _scatter_access, (example(_X, 1, _INDEX, _X, reduce="multiply"),)),
            (("aten.scatter.value_reduce", "aten.scatter_.value_reduce"), _scatter_work, _scatter_traffic,
             _scatter_access, (example(_X, 1, _INDEX, 2.0, reduce="multiply"),)),
            (("aten.index_reduce.default", "aten.index_reduce_.default"), _index_reduce_work, _index_add_traffic,
             _index_add_access, (example(_X, 1, _ROWS, TensorSpec((2, 5, 4)), "amax"),
                                 example(_X, 1, _ROWS, TensorSpec((2, 5, 4)), "mean"))),
            (("aten.index_add.default", "aten.index_add_.default"), _index_add_work, _index_add_traffic,
             _index_add_access, (example(_X, 1, _ROWS, TensorSpec((2, 5, 4))),
                                 example(_X, 1, _ROWS, TensorSpec((2, 5, 4)), alpha=2))),
        )
    ),
)  # fmt: skip
