"""``profile``: traces a model and returns a ``Profile``, its costs and analyses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from costmodel import late
from costmodel.errors import UnknownOpError, require_torch
from costmodel.graph import Graph
from costmodel.origin import Origin
from costmodel.profiling.result import Profile as Profile

if TYPE_CHECKING:
    from torch import nn

    from costmodel.trace import Execution, Mode


def profile(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any = None,
    *,
    mode: Mode = "eval",
    strict: bool = False,
    execution: Execution = "auto",
    dtype: Any = None,
) -> Profile:
    """What a model costs, read from one forward pass that computes nothing and leaves the model unchanged.

    Args:
        model: any ``nn.Module``, on any device; a bound method of one (``model.encode``); a plain function, with the
            modules and parameters that it uses (in its closure, defaults and global variables); or a spec string as
            ``costmodel.load`` takes it. Lazy modules take their shapes from the inputs, and are lazy again afterwards.
        inputs: a shape such as ``(1, 3, 224, 224)``; a tensor or a NumPy array; a ``costmodel.Input`` (shape and
            dtype); one object that holds tensors (a dataclass, a namedtuple, a graph); a tuple or list of those for
            several inputs, nested as the model takes them; a dict of keyword inputs; a ``costmodel.call`` for both, or
            a pair of a tuple and a dict of keywords; ``None`` asks the model itself. The model is given copies.
        mode: the mode of the forward pass, ``"eval"`` or ``"train"``.
        strict: raise where an op has no rule or a figure is a lower bound, instead of marking the profile inexact.
        execution: ``"meta"`` computes nothing; ``"real"`` runs the model on real tensors; ``"auto"`` does the first,
            and the second where the forward fails without values, for whatever reason (``graph.reason`` says why).
            Small integer tensors that are given keep their values; where a model looks into integers of which a shape
            was given, they are zeros. Tensors name the model's own device.
        dtype: price the model and its floating inputs as if they were of this dtype, ``"bfloat16"`` or
            ``torch.bfloat16``.

    Threads: while it runs, the model's modules are in ``mode``, and real runs work on copies of its buffers. Another
    thread that runs the same model at that time would see this: profile a copy (``copy.deepcopy(model)``), or in the
    mode in which the model is, which then is not touched. Profiles wait for each other, and ``os.fork`` for them.

    Raises:
        InputError: the arguments cannot be understood.
        ForwardError: the model's forward failed; the message names the layer, the line and the shapes.
        UnknownOpError: with ``strict``, an op without a rule ran, or a figure is a lower bound.
        NeedsValuesError: with ``execution="meta"``, the model reads a tensor's value.

    >>> from torch import nn
    >>> p = profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 32, 32))
    >>> p.macs, p.flops, p.params
    (194400, 403200, 224)
    """
    require_torch("costmodel.profile" if not isinstance(model, str) else repr(model))
    with late.uncollected():
        from costmodel.layers.capture import capture
        from costmodel.trace import trace

    def traced(module: nn.Module | Callable[..., Any]) -> Graph:
        return trace(module, inputs, mode=mode, execution=execution, dtype=dtype, capture=capture)

    origin = Origin(model, inputs, execution=execution, dtype=dtype)
    if isinstance(model, str):
        from costmodel.loading import apply

        result = Profile(apply(traced, model, weights=execution == "real"), model, origin)
    else:
        graph = traced(model)
        result = Profile(graph, graph.model, origin)
    if strict:
        require_exact(result)
    return result


def require_exact(p: Profile) -> None:
    """Raises ``UnknownOpError`` if an op that ran has no rule, or a figure is a lower bound."""
    if p.pricing.unknown:
        raise UnknownOpError(_unknown_message(p))
    if p.pricing.bounds:
        parts = [f"in {note.where or 'the model itself'}, {note.why}" for note in p.pricing.bounds]
        raise UnknownOpError(f"a figure is a lower bound: {'; '.join(parts)}. Pass strict=False to accept that.")


def _unknown_message(result: Profile) -> str:
    parts = []
    for op, where in result.pricing.unknown.items():
        call = next(c for c in result.graph.ops if c.op == op)
        shapes = [t.shape for t in call.outputs]
        parts.append(f"no rule for {op!r} in module {where[0]!r} (outputs {shapes})")
    return f"{'; '.join(parts)}. Add one with costmodel.register_op, or pass strict=False."


def __getattr__(name: str) -> Any:
    # LAYER_COLUMNS, OP_COLUMNS and MODULE_COLUMNS, without the tables for a profile that shows none.
    if name.endswith("_COLUMNS"):
        from costmodel import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
