"""Recurrent layers above autograd as the CPU runs them: step by step, all steps' inputs multiplied at once before.

On meta tensors torch multiplies the input in each step. Source: aten/src/ATen/native/RNN.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch.nn.functional import linear

from costmodel.records import dataclass
from costmodel.torch_private import without_modes

_Hidden: TypeAlias = tuple[torch.Tensor, ...]
"""The state of one layer and direction: what it shows and, in an LSTM, the state of its cell."""


@dataclass(frozen=True, slots=True)
class _Parameters:
    """Those of one layer and direction."""

    w_ih: torch.Tensor
    w_hh: torch.Tensor
    b_ih: torch.Tensor | None
    b_hh: torch.Tensor | None
    w_hr: torch.Tensor | None
    """Of an LSTM's projection."""

    def input_gates(self, x: torch.Tensor) -> torch.Tensor:
        """The input's part of the gates, of every step of it."""
        return linear(x, self.w_ih, self.b_ih)

    def state_gates(self, h: torch.Tensor) -> torch.Tensor:
        """The state's part of the gates."""
        return linear(h, self.w_hh, self.b_hh)


def _lstm(gates_of_x: torch.Tensor, state: _Hidden, p: _Parameters) -> _Hidden:
    h, c = state
    gates = p.state_gates(h).add_(gates_of_x)
    chunks = torch.unsafe_chunk(gates, 4, 1)
    i, f, g, o = chunks[0].sigmoid_(), chunks[1].sigmoid_(), chunks[2].tanh_(), chunks[3].sigmoid_()
    c = (f * c).add_(i * g)
    h = o * c.tanh()
    return (h if p.w_hr is None else torch.matmul(h, p.w_hr.t())), c


def _gru(gates_of_x: torch.Tensor, state: _Hidden, p: _Parameters) -> _Hidden:
    (h,) = state
    x_gates = torch.unsafe_chunk(gates_of_x, 3, 1)
    h_gates = torch.unsafe_chunk(p.state_gates(h), 3, 1)
    reset = h_gates[0].add_(x_gates[0]).sigmoid_()
    update = h_gates[1].add_(x_gates[1]).sigmoid_()
    new = x_gates[2].add(h_gates[2].mul_(reset)).tanh_()
    return ((h - new).mul_(update).add_(new),)


def _rnn_tanh(gates_of_x: torch.Tensor, state: _Hidden, p: _Parameters) -> _Hidden:
    return (p.state_gates(state[0]).add_(gates_of_x).tanh(),)


def _rnn_relu(gates_of_x: torch.Tensor, state: _Hidden, p: _Parameters) -> _Hidden:
    return (p.state_gates(state[0]).add_(gates_of_x).relu(),)


_Cell: TypeAlias = Callable[[torch.Tensor, _Hidden, _Parameters], _Hidden]
_CELLS: Mapping[str, _Cell] = {"lstm": _lstm, "gru": _gru, "rnn_tanh": _rnn_tanh, "rnn_relu": _rnn_relu}


@dataclass(frozen=True, slots=True)
class _Layers:
    """All layers of one call."""

    cell: _Cell
    hx: tuple[Sequence[torch.Tensor], ...]
    """The parts of the state, each by layer and direction."""
    parameters: Sequence[_Parameters]
    directions: int
    dropout: float
    sizes: Sequence[int] | None
    """Of packed sequences: how many go on at each step."""

    def run(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The output of the last layer, and the parts of the state at the end."""
        ends: list[_Hidden] = []
        for first in range(0, len(self.parameters), self.directions):
            outputs = []
            for at in range(first, first + self.directions):
                state = tuple(part[at] for part in self.hx)
                output, end = self._in_one_direction(x, state, self.parameters[at], reverse=at > first)
                outputs.append(output)
                ends.append(end)
            if self.directions == 1:
                (x,) = outputs
            else:
                x = torch.cat(outputs, 2 if self.sizes is None else -1)
            if self.dropout and first + self.directions < len(self.parameters):
                x = torch.dropout(x, self.dropout, True)
        return x, *_joined(ends, torch.stack)

    def _in_one_direction(
        self, x: torch.Tensor, state: _Hidden, p: _Parameters, *, reverse: bool
    ) -> tuple[torch.Tensor, _Hidden]:
        gates = p.input_gates(x)
        if self.sizes is not None:
            of_packed = self._backward if reverse else self._forward
            return of_packed(gates, self.sizes, state, p)
        outputs = []
        for step in reversed(gates.unbind(0)) if reverse else gates.unbind(0):
            state = self.cell(step, state, p)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if reverse else outputs), state

    def _forward(
        self, gates: torch.Tensor, sizes: Sequence[int], state: _Hidden, p: _Parameters
    ) -> tuple[torch.Tensor, _Hidden]:
        """Packed sequences: the longest come first, and those that have ended leave the state."""
        outputs, ended, at = [], [], 0
        for before, size in pairwise([sizes[0], *sizes]):
            step = gates.narrow(0, at, size)
            at += size
            if size < before:
                ended.append(_rows(state, size, before))
                state = _rows(state, 0, size)
            state = self.cell(step, state, p)
            outputs.append(state[0])
        ended.append(state)
        return torch.cat(outputs), _joined(ended[::-1], torch.cat)

    def _backward(
        self, gates: torch.Tensor, sizes: Sequence[int], first: _Hidden, p: _Parameters
    ) -> tuple[torch.Tensor, _Hidden]:
        """From the last step on: those that are shorter join the state."""
        outputs, at = [], gates.shape[0]
        state = _rows(first, 0, sizes[-1])
        for before, size in pairwise([sizes[-1], *reversed(sizes)]):
            if size > before:
                state = _joined([state, _rows(first, before, size)], torch.cat)
            at -= size
            state = self.cell(gates.narrow(0, at, size), state, p)
            outputs.append(state[0])
        return torch.cat(outputs[::-1]), state


# C++ evaluates the arguments of a call from the last to the first, and so takes the cell's state before what is shown.


def _rows(state: _Hidden, start: int, end: int) -> _Hidden:
    return tuple([part.narrow(0, start, end - start) for part in reversed(state)][::-1])


def _joined(states: Sequence[_Hidden], join: Callable[[tuple[torch.Tensor, ...]], torch.Tensor]) -> _Hidden:
    return tuple([join(parts) for parts in reversed(list(zip(*states, strict=True)))][::-1])


def _parameters(params: Sequence[torch.Tensor], has_biases: bool, has_projection: bool) -> Iterator[_Parameters]:
    count = 2 + 2 * has_biases + has_projection
    for at in range(0, len(params), count):
        w_ih, w_hh, *rest = params[at : at + count]
        w_hr = rest.pop() if has_projection else None
        b_ih, b_hh = rest or (None, None)
        yield _Parameters(w_ih, w_hh, b_ih, b_hh, w_hr)


def padded(kind: str) -> Callable[..., tuple[torch.Tensor, ...]]:
    """What ``aten.lstm.input`` and its like return, of this kind of cell."""

    def layers(
        x: torch.Tensor, hx: Any, params: Sequence[torch.Tensor], has_biases: bool, num_layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        x = x.transpose(0, 1) if batch_first else x
        y, *states = _layers(kind, hx, params, has_biases, dropout if train else 0.0, bidirectional, None).run(x)
        if batch_first:
            y = y.transpose(0, 1) if kind == "lstm" else y.transpose_(0, 1)
        return y, *states

    return layers


def packed(kind: str) -> Callable[..., tuple[torch.Tensor, ...]]:
    """What ``aten.lstm.data`` and its like return, of this kind of cell."""

    def layers(
        x: torch.Tensor, batch_sizes: torch.Tensor, hx: Any, params: Sequence[torch.Tensor], has_biases: bool,
        num_layers: int, dropout: float, train: bool, bidirectional: bool,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        with without_modes():
            sizes = batch_sizes.tolist()
        return _layers(kind, hx, params, has_biases, dropout if train else 0.0, bidirectional, sizes).run(x)

    return layers


def _layers(
    kind: str, hx: Any, params: Sequence[torch.Tensor], has_biases: bool, dropout: float, bidirectional: bool,
    sizes: Sequence[int] | None,
) -> _Layers:  # fmt: skip
    states = hx if kind == "lstm" else [hx]
    has_projection = kind == "lstm" and states[0].shape[2] != states[1].shape[2]
    return _Layers(
        _CELLS[kind], tuple(part.unbind(0) for part in states), list(_parameters(params, has_biases, has_projection)),
        2 if bidirectional else 1, dropout, sizes,
    )  # fmt: skip
