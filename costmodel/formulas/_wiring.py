"""Which tensors the layers of a block or network share, and what its backward pass computes and keeps because of that.

A tensor that two layers keep is kept once: the output of a ReLU that the next convolution needs, too. Views lie on the
storage of what they are views of, and so does what a layer writes over its input. Where that input is itself a view,
autograd has to take the gradient of the whole apart and put it together again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from costmodel.formulas.gradient import NOTHING, BackwardCost, Saved, around_a_view
from costmodel.quantities import Count, prod
from costmodel.records import dataclass

if TYPE_CHECKING:
    from costmodel.formulas.cost import LayerCost


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """The memory of a feature map: of ``prod(shape)`` elements, and another than any other, whatever its shape."""

    shape: tuple[Count, ...]


Place: TypeAlias = tuple[tuple[Storage, Count], ...]
"""Where a map lies: on one storage; in a sweep in which some configurations leave a layer out, on one of several, each
with 1 where it is the one and 0 elsewhere."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A map that a layer takes."""

    place: Place
    is_learnt: bool
    """Whether something learnt was before it, so that its gradient is needed; that of the block's input need not be."""
    is_view: bool = False
    """Whether it is a view of what lies there."""

    @classmethod
    def fresh(cls, shape: tuple[Count, ...], is_learnt: bool) -> Operand:
        """One on a storage of its own."""
        return cls(((Storage(shape), 1),), is_learnt)

    def where_left_out(self, before: Operand, where: Count) -> Operand:
        """This map in the configurations that have the layer which made it, and the one before it in the others."""
        if isinstance(where, int):
            return self
        here = tuple((storage, share * where) for storage, share in self.place)
        there = tuple((storage, share * (1 - where)) for storage, share in before.place)
        return replace(self, place=here + there, is_view=self.is_view or before.is_view)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wired:
    """A layer with what it takes and makes."""

    name: str
    cost: LayerCost
    inputs: tuple[Operand, ...]
    output: Operand
    overwrites: bool = False
    """Whether it writes its output over its input, the first one."""
    where: Count = 1
    """1 in the configurations of a sweep that have it, 0 in the others."""


class BackwardPass:
    """The backward pass of layers, which are added in the order of the forward."""

    def __init__(self, *, inputs: bool) -> None:
        """``inputs``: whether the gradient of the first layer's input is needed."""
        self._inputs = inputs
        self._kept: dict[Storage, Count] = {}

    def add(self, layer: Wired) -> BackwardCost:
        """That of one layer; ``saved`` are the tensors that none before it keeps, by their whole storages."""
        needed = tuple(self._inputs or operand.is_learnt for operand in layer.inputs)
        cost = layer.cost.backward(inputs=needed)
        if layer.overwrites and layer.inputs[0].is_view and any(needed):
            whole: Count = sum(prod(storage.shape) * share for storage, share in layer.inputs[0].place)
            cost += around_a_view(view=prod(layer.cost.output_shape), whole=whole, inputs=needed[0])
        saved = tuple(kept for each in cost.saved for kept in self._keep(each, layer))
        if not isinstance(layer.where, int):
            cost = replace(cost, saved=()).times(layer.where)
        return replace(cost, saved=saved)

    def _keep(self, saved: Saved, layer: Wired) -> Iterable[Saved]:
        what, _, index = saved.tensor.partition(" ")
        if what == "output":
            place = layer.output.place
        elif what == "input" and not layer.overwrites:
            place = layer.inputs[int(index or 0)].place
        else:  # made for it; of an input that it writes over, autograd keeps a copy
            yield Saved(f"{layer.name}: {saved.tensor}", saved.elements * layer.where, saved.itemsize)
            return
        for storage, share in place:
            before = self._kept.get(storage, 0)
            new = share * layer.where * (1 - before)
            if isinstance(new, int) and new == 0:
                continue
            self._kept[storage] = before + new
            yield Saved(f"{layer.name}: {saved.tensor}", prod(storage.shape) * new, saved.itemsize)


def in_a_row(first: tuple[Wired, ...], second: tuple[Wired, ...]) -> tuple[Wired, ...]:
    """The layers of two blocks, where the second one's input is the first one's output."""
    if not first or not second:
        return first + second
    ((joint, _),), before = second[0].inputs[0].place, first[-1].output
    own: dict[Storage, Storage] = {}  # the second block may be the first one again

    def moved(operand: Operand) -> Operand:
        place: list[tuple[Storage, Count]] = []
        for storage, share in operand.place:
            if storage is joint:
                place += [(other, part * share) for other, part in before.place]
            else:
                place.append((own.setdefault(storage, Storage(storage.shape)), share))
        is_view = operand.is_view or (before.is_view and any(s is joint for s, _ in operand.place))
        return Operand(tuple(place), operand.is_learnt or before.is_learnt, is_view)

    return first + tuple(
        replace(layer, inputs=tuple(map(moved, layer.inputs)), output=moved(layer.output)) for layer in second
    )


def backward_of(layers: Iterable[Wired], *, inputs: bool) -> BackwardCost:
    """The backward pass of layers that run one after the other."""
    run = BackwardPass(inputs=inputs)
    costs = [run.add(layer) for layer in layers]
    # Two blocks in a row may name their layers alike: what each keeps is another tensor all the same.
    saved = tuple(kept for cost in costs for kept in cost.saved)
    return replace(sum((replace(cost, saved=()) for cost in costs), NOTHING), saved=saved)
