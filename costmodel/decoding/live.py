"""Live bytes while a token is decoded: of the cache, what is replaced ends with its last reader."""

from __future__ import annotations

from costmodel.decoding.steps import Step


def live_bytes(step: Step) -> tuple[int, ...]:
    """Live bytes while each op runs, parameters apart.

    A profile takes inputs to be held by their caller. Of a cache that holds longer tensors after the call than before,
    nobody holds the shorter ones: each ends with the last op that reads it. What is given as a tensor of its own can be
    a view, as the last tokens of a window are, and then keeps alive all that it is a view of.
    """
    p = step.profile
    curve = list(p.peak.curve)
    last_reader: dict[int, int] = dict.fromkeys(step.replaced, -1)
    for i, op in enumerate(p.graph.ops):
        for tensor in (*(tensor for _, tensor in op.tensors()), *op.outputs):
            if tensor.storage in last_reader:
                last_reader[tensor.storage] = i
    freed = [0] * (len(curve) + 1)
    for storage, last in last_reader.items():
        freed[last + 1] += step.given[storage]
    gone = sum(p.graph.storages[storage].nbytes - nbytes for storage, nbytes in step.given.items())
    for i in range(len(curve)):
        gone += freed[i]
        curve[i] -= gone
    return tuple(curve)
