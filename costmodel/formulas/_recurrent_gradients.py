"""Backward passes of recurrent layers: by oneDNN at once for an LSTM on the CPU, and step by step for all others."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel.formulas import _functions as fn
from costmodel.formulas._arguments import ceil_div, is_one, lesser
from costmodel.formulas._functions import COMPARE
from costmodel.formulas._kernels import Shape
from costmodel.formulas._tape import Storage, Tape, Tensor
from costmodel.formulas.gradient import NOTHING, BackwardCost, Needs, Saved
from costmodel.formulas.products import linear
from costmodel.quantities import Count, Work
from costmodel.records import dataclass

_OF_RESULT = Work(adds=1, multiplies=2)
"""The slope of a sigmoid, y (1 - y), or of tanh, 1 - y y, times what arrives."""

GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
"""Products with each weight in a step, by kind of cell."""

_UNIT = (
    Work(adds=1)  # dh: what the step showed, and what the next step made of it
    + Work(transcendentals=1)  # tanh(c)
    + Work(multiplies=3, adds=2)  # dc = dc' f' + dh o (1 - tanh(c) tanh(c)); dc' f' is counted below
    + Work(multiplies=3, adds=1).times(4)  # of each gate, two products and its slope
    + Work(multiplies=1)  # dc f, for the step before
)
"""An LSTM's hidden unit in one step, where the gates and the cell's states were kept."""


# -- one step ---------------------------------------------------------------------------------------------------------


def _product(k: Tape, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b, of two dimensions."""
    factors = [x, weight, *([] if bias is None else [bias])]
    y = k.make((x.shape[0], weight.shape[0]), "gates", *factors)
    k.run(read=sum(factor.size for factor in factors), written=y.size)
    work = Work(macs=y.size * x.shape[1])
    k.derive(y, x, weight, once=work, shape=x.shape)
    k.derive(y, weight, x, once=work, shape=weight.shape)
    if bias is not None:
        k.back(y, bias, lambda g: k.give(bias, g, y.shape))
    return y


def _in_place(k: Tape, x: Tensor, slope: Work = _OF_RESULT) -> Tensor:
    """A function of x, in its place, whose slope is one of the result."""
    y = Tensor(x.shape, x.storage, x.wanted, is_part=x.is_part)
    k.run(read=x.size, written=x.size)
    k.derive(y, x, y, each=slope)
    return y


def _added_in_place(k: Tape, x: Tensor, other: Tensor) -> Tensor:
    y = Tensor(x.shape, x.storage, x.wanted or other.wanted, is_part=x.is_part)
    k.run(read=2 * x.size, written=x.size)
    for own in (x, other):
        k.back(y, own, lambda g, own=own: k.give(own, g, y.shape))  # type: ignore[misc]  # a default binds it now
    return y


def _chunks(k: Tape, x: Tensor, count: int) -> list[Tensor]:
    """Equal parts of the last axis, whose gradients are joined."""
    shape = (*x.shape[:-1], x.shape[-1] // count)
    parts = [Tensor(shape, x.storage, x.wanted, is_part=True) for _ in range(count)]

    def back(_: Count) -> None:
        zeros = sum(part.size for part in parts if part.arrived is None)
        k.run(read=x.size, written=x.size + zeros)
        k.give(x, x.size, x.shape)

    k.back(parts[0], x, back)
    return parts


def _step(k: Tape, cell: str, gates_of_x: Tensor, gates_of_h: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """What the step shows, and its state, from the gates' part of the input and that of the state."""
    if cell == "gru":
        (rx, zx, nx), (rh, zh, nh) = (_chunks(k, gates, 3) for gates in (gates_of_x, gates_of_h))
        r = _in_place(k, _added_in_place(k, rh, rx))
        z = _in_place(k, _added_in_place(k, zh, zx))
        n = _in_place(k, _sum(k, nx, _multiplied_in_place(k, nh, r)))
        y = _added_in_place(k, _multiplied_in_place(k, fn.subtract(k, h, n), z), n)
        return y, y
    gates = _added_in_place(k, gates_of_h, gates_of_x)
    if cell in ("tanh", "relu"):
        y = k.each("state", gates)
        k.derive(y, gates, y, each=_OF_RESULT if cell == "tanh" else COMPARE)
        return y, y
    i, f, g, o = (_in_place(k, part) for part in _chunks(k, gates, 4))
    state = _added_in_place(k, fn.multiply(k, f, c), fn.multiply(k, i, g))
    shown = k.each("tanh of the cell's state", state)
    k.derive(shown, state, shown, each=_OF_RESULT)
    return fn.multiply(k, o, shown), state


def _sum(k: Tape, a: Tensor, b: Tensor) -> Tensor:
    return fn.add(k, a, b)


def _multiplied_in_place(k: Tape, x: Tensor, other: Tensor) -> Tensor:
    """x times another, in its place: x as it was is copied, for the gradient of the other."""
    was = k.each("factor", x) if other.wanted else x
    y = Tensor(x.shape, x.storage, x.wanted or other.wanted, is_part=x.is_part)
    k.run(read=2 * x.size, written=x.size)
    times = Work(multiplies=1)
    k.derive(y, x, other, each=times)
    k.derive(y, other, was, each=times)
    return y


def of_cell(
    cell: str, input_size: Count, hidden_size: Count, batch: Count, bias: bool, hx_given: bool, needs: Needs
) -> BackwardCost:
    """One step by itself, of x and of the state."""
    k, made = run_cell(cell, input_size, hidden_size, batch, bias, hx_given, needs)
    if not made[0].wanted:
        return NOTHING
    return k.backward(*(y for i, y in enumerate(made[: 2 if cell == "lstm" else 1]) if needs.output(i)))


def run_cell(
    cell: str, input_size: Count, hidden_size: Count, batch: Count, bias: bool, hx_given: bool, needs: Needs
) -> tuple[Tape, tuple[Tensor, Tensor]]:
    """The kernels of one step by itself, and what it shows and its state."""
    k, gates = Tape(needs), GATES[cell] * hidden_size
    several = hx_given and not isinstance(needs.inputs, bool)
    x = k.input((batch, input_size), 0 if hx_given else None)
    state: Shape = (batch, hidden_size)
    zeros = Storage("zeros", batch * hidden_size)
    given = hx_given and (several or needs.any_input)
    h, c = (k.input(state, i) if given else Tensor(state, zeros) for i in (1, 2 if cell == "lstm" else 1))
    of_x = _product(k, x, k.weight(gates, input_size), k.bias(gates) if bias else None)
    of_h = _product(k, h, k.weight(gates, hidden_size), k.bias(gates) if bias else None)
    return k, _step(k, cell, of_x, of_h, h, c)


# -- layers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrent:
    """The hyper-parameters of a recurrent layer; called with the needs, the cost of its backward pass."""

    cell: str
    input_size: Count
    hidden_size: Count
    shown: Count
    """What a direction shows: hidden units, or their projection."""
    projected: bool
    num_layers: int
    bias: bool
    directions: int
    length: Count
    batch: Count
    batch_first: bool
    hx_given: bool
    dropped: bool
    complex_valued: bool = False
    """Of complex numbers, whose backward pass has no closed form."""
    is_fused: bool = False
    """Whether oneDNN computes a layer and direction at once, as it does of an LSTM without projections."""

    def __call__(self, needs: Needs) -> BackwardCost:
        """Layer by layer, direction by direction."""
        of_x, of_h, of_c = self.of_inputs(needs)
        learnt = needs.weight or (needs.bias and self.bias)
        if not (learnt or of_x or of_h or of_c):
            return NOTHING
        cost = BackwardCost(saved=tuple(self._states(needs)))
        if not self.is_fused:
            # The gradients of each layer's and direction's first state in one.
            cells = self.num_layers * self.directions * self.batch
            for wanted, size in ((of_h, self.shown), (of_c, self.hidden_size)):
                cost += BackwardCost(read=cells * size, written=cells * size) if wanted else NOTHING
        for layer in range(self.num_layers):
            is_first, is_last = layer == 0, layer == self.num_layers - 1
            wanted = of_x if is_first else True
            width = self.input_size if is_first else self.directions * self.shown
            for direction in range(self.directions):
                cost += _renamed(self._one(layer, width, wanted, (of_h, of_c), needs), f"layer {layer}.{direction}")
            rows = self.length * self.batch
            if not is_last and self.dropped:
                n = rows * self.directions * self.shown
                product = Work(multiplies=n)
                cost += BackwardCost(read=2 * n, written=n, work=product, saved=(Saved(f"mask {layer}", n),))
            cost += BackwardCost(saved=tuple(self._input_kept(layer, rows * width, needs)))
        return cost

    def of_inputs(self, needs: Needs) -> tuple[bool, bool, bool]:
        """Whether the gradients of x, of the state and of the cell's state are asked for."""
        if not self.hx_given:
            return needs.input(), False, False
        return needs.input(0), needs.input(1), self.cell == "lstm" and needs.input(2)

    def _states(self, needs: Needs) -> Iterator[Saved]:
        """The states before the first step, of all layers and directions in one tensor."""
        cells = self.num_layers * self.directions * self.batch
        if needs.weight or self.is_fused:
            yield Saved("input 1" if self.hx_given else "first states", cells * self.shown)
        if self.cell == "lstm":
            yield Saved("input 2" if self.hx_given else "first states of cells", cells * self.hidden_size)

    def _input_kept(self, layer: int, elements: Count, needs: Needs) -> Iterator[Saved]:
        """What a layer takes, which the gradients of its weights are computed from."""
        if not (needs.weight or self.is_fused):
            return
        if layer == 0:
            copied = self.batch_first and not (is_one(batch=self.batch) or is_one(length=self.length))
            name = "copy of the input" if copied else "input 0" if self.hx_given else "input"
            # oneDNN's layer copies it once for both directions; else the product of each direction does.
            copies = self.directions if copied and not self.is_fused else 1
            yield Saved(name, copies * elements)
        elif self.directions > 1 or self.dropped or not self.is_fused:
            yield Saved(f"what layer {layer} takes", elements)  # else it is what the layer below showed

    def _one(
        self, layer: int, width: Count, of_x: bool, of_states: tuple[bool, bool], needs: Needs
    ) -> BackwardCost:  # fmt: skip
        if self.is_fused:
            return self._by_onednn(layer, width, of_states, needs)
        return self._by_steps(layer, width, of_x, of_states, needs)

    # -- at once ------------------------------------------------------------------------------------------------------

    def _by_onednn(self, layer: int, width: Count, of_states: tuple[bool, bool], needs: Needs) -> BackwardCost:
        """All gradients, whichever are asked for, of zeros in the place of biases that there are none of.

        It reads the gradient of what it showed and of each last state, where one arrives.
        """
        h, rows = self.hidden_size, self.length * self.batch
        state, weights = self.batch * h, 4 * h * (width + h)
        unseen = self.directions == 1 and layer == self.num_layers - 1
        is_shown = needs.output(0) or layer < self.num_layers - 1
        arriving = (rows * h if is_shown else 0) + sum(state for i in (1, 2) if needs.output(i))
        cost = BackwardCost(
            read=rows * width + weights + 2 * state + rows * h + arriving,
            written=rows * width + weights + 2 * 4 * h + 2 * state,
            work=Work(macs=2 * rows * weights) + _UNIT.times(rows * h) + Work(adds=(rows - 1) * 4 * h),
            saved=(
                Saved("output" if unseen else "shown", rows * h), Saved("last state", state),
                Saved("last state of the cell", state),
                Saved("workspace", _workspace(self.length, self.batch, width, h), 1),
                *([] if self.bias else [Saved("zeros", weights)]),
            ),
        )  # fmt: skip
        cells = self.num_layers * self.directions
        for wanted in of_states:
            cost += BackwardCost(read=state, written=cells * state) if wanted else NOTHING
        return cost

    # -- step by step -------------------------------------------------------------------------------------------------

    def _by_steps(
        self, layer: int, width: Count, of_x: bool, of_states: tuple[bool, bool], needs: Needs
    ) -> BackwardCost:  # fmt: skip
        rows, gates = self.length * self.batch, GATES[self.cell] * self.hidden_size
        learnt = needs.weight or (needs.bias and self.bias)
        flows = learnt or of_x
        later = self._of_step(flows, (True, True), needs)
        # At the last step of the last layer, no gradient may arrive but that of the cell's state.
        of_cell_alone = layer == self.num_layers - 1 and not (needs.output(0) or needs.output(1))
        last = self._of_step(flows, (True, True), needs, of_cell_alone)
        cost = _work_of(self._of_step(flows, of_states, needs)) + _work_of(last)
        cost += _work_of(later).times(self.length - 2)  # of one step, what the last lacks is taken from the first
        kept = {s.tensor: s.elements for s in later.saved}
        before = {name: kept.pop(name) for name in ("state before", "cell's state before") if name in kept}
        if self.cell in ("tanh", "relu"):
            before.pop("state before", None)  # which is kept as the result of the step before
        saved = [Saved(f"{name}, each step", elements * self.length) for name, elements in kept.items()]
        saved += [Saved(f"{name}, from the second", n * (self.length - 1)) for name, n in before.items()]
        if flows:
            cost += BackwardCost(read=rows * gates, written=rows * gates)  # the steps' gradients in one
            product = linear(in_features=width, out_features=gates, bias=self.bias, rows=rows)
            cost += _work_of(product.backward(inputs=of_x, weight=needs.weight, bias=needs.bias))
        return cost + BackwardCost(
            saved=tuple(s for s in saved if not (isinstance(s.elements, int) and s.elements == 0))
        )

    def _of_step(
        self, of_x: bool, of_states: tuple[bool, bool], needs: Needs, of_cell_alone: bool = False
    ) -> BackwardCost:
        k, y, state = self.run_step(of_x, of_states, needs)
        return k.backward(state if of_cell_alone else y)

    def run_step(self, of_x: bool, of_states: tuple[bool, bool], needs: Needs) -> tuple[Tape, Tensor, Tensor]:
        """The kernels of one step of one layer and direction, what it shows and its state."""
        k, hidden = Tape(needs), self.hidden_size
        gates = GATES[self.cell] * hidden
        shape = (self.batch, gates)
        of_input = Tensor(shape, Storage("gates of the input", self.batch * gates), of_x)
        h = Tensor((self.batch, self.shown), Storage("state before", self.batch * self.shown), of_states[0])
        c = Tensor((self.batch, hidden), Storage("cell's state before", self.batch * hidden), of_states[1])
        of_h = _product(k, h, k.weight(gates, self.shown), k.bias(gates) if self.bias else None)
        y, state = _step(k, self.cell, of_input, of_h, h, c)
        if self.projected:
            y = _product(k, y, k.weight(self.shown, hidden), None)
        return k, y, state


def _work_of(cost: BackwardCost) -> BackwardCost:
    """Without what is kept."""
    return BackwardCost(read=cost.read, written=cost.written, work=cost.work)


def _renamed(cost: BackwardCost, prefix: str) -> BackwardCost:
    """What each layer and direction keeps for itself has its name."""
    own = tuple(
        s if s.tensor == "output" else Saved(f"{prefix}: {s.tensor}", s.elements, s.itemsize) for s in cost.saved
    )
    return BackwardCost(read=cost.read, written=cost.written, work=cost.work, saved=own)


_PAGE, _LINE = 4096, 64


def _workspace(steps: Count, batch: Count, features: Count, hidden: Count) -> Count:
    """Bytes that oneDNN keeps in single precision: gates and states of each step, in pages.

    Source: ``set_workspace_sizes`` in src/cpu/rnn/rnn_utils.hpp of oneDNN 3.12.
    """
    states, rows = 2 * (steps + 1) * batch, steps * batch
    wide = hidden + (features - hidden + abs(features - hidden)) // 2
    parts = (
        rows * _row(4 * hidden), rows * _row(hidden), states * _row(wide), states * _row(wide), states * _row(wide),
        states * hidden * 4, states * hidden * 4,
    )  # fmt: skip
    total: Count = 0
    for part in parts:
        total = total + ceil_div(part, _PAGE) * _PAGE
    return total


def _row(elements: Count) -> Count:
    """Bytes of a row: whole lines of the cache, one more where it would be a multiple of 256 elements long."""
    line = _LINE // 4
    padded = ceil_div(elements, line) * line
    return (padded + line * (1 - lesser(padded % 256, 1))) * 4
