"""Which of the recorder's ways an op goes: chosen once for each op, then looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch._ops import OpOverload

from costmodel.ops import RULES, Rule, Torch, find
from costmodel.trace.autocast import watched
from costmodel.trace.lowering import LOWERINGS, Lowering
from costmodel.trace.signature import Signature, signature
from costmodel.trace.temporaries import TEMPORARIES

if TYPE_CHECKING:
    from costmodel.trace.recorder import Recorder

Args: TypeAlias = Sequence[Any]
Kwargs: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[["Recorder", OpOverload, Args, Kwargs], Any]
"""Takes an op's call as it arrived, and returns what the op returns."""

_READS = frozenset({"aten._local_scalar_dense.default", "aten.equal.default"})
"""Ops that hand a tensor's value to Python."""
_CAST = "aten._to_copy.default"


class Handlers(dict[OpOverload, Handler]):
    """The handlers of the ops that were met, as long as the rules stay as they are."""

    def __init__(self) -> None:
        self.changes = RULES.changes

    def __missing__(self, func: OpOverload) -> Handler:
        handler = self[func] = watched(str(func), _choose(func))
        return handler


_handlers = Handlers()


def handlers() -> Handlers:
    """The handlers, chosen anew where rules came, went or were replaced since."""
    global _handlers
    if _handlers.changes != RULES.changes:
        _handlers = Handlers()
    return _handlers


def _choose(func: OpOverload) -> Handler:
    op = str(func)
    sig = signature(func)
    rule = find(op)
    if op in _READS:
        return _by("read", op, sig)
    if op == _CAST and rule is not None:
        return _moved(_ruled(op, rule, sig))
    if rule is not None:
        return _ruled(op, rule, sig)
    if op in LOWERINGS and LOWERINGS[op].core in RULES:
        return _lowered(LOWERINGS[op], RULES[LOWERINGS[op].core], sig)
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return lambda recorder, func, args, kwargs: recorder.decompose(func, args, kwargs)
    if sig.outs:
        return _by("run", _without_out(func, sig), sig)
    if sig.is_view:
        return _by("view", op, sig)
    if sig.is_inplace:
        return _by("inplace", op, sig)
    return _by("run", op, sig)


def _without_out(func: OpOverload, sig: Signature) -> str:
    """The overload that returns what this one writes into ``out``, where that has a rule: they cost the same."""
    packet = func.overloadpacket
    twins = (getattr(packet, name) for name in packet.overloads())
    return next((str(twin) for twin in twins if signature(twin).takes == sig.takes and find(str(twin))), str(func))


def _by(method: str, op: str, sig: Signature) -> Handler:
    """The recorder's method of this name: a ``RealRecorder`` has others."""

    def handle(recorder: Recorder, func: OpOverload, args: Args, kwargs: Kwargs) -> Any:
        return getattr(recorder, method)(op, func, args, kwargs, sig.bind(args, kwargs, recorder))

    return handle


def _ruled(op: str, rule: Rule, sig: Signature) -> Handler:
    if rule.outputs is Torch.VIEW:
        return _by("view", op, sig)
    if sig.is_inplace:
        return _by("inplace", op, sig)
    temporaries = TEMPORARIES.get(op)

    def handle(recorder: Recorder, func: OpOverload, args: Args, kwargs: Kwargs) -> Any:
        bound = sig.bind(args, kwargs, recorder)
        if temporaries is not None:
            for spec in temporaries(bound):
                recorder.passing(spec)
        return recorder.answer(op, rule, func, args, kwargs, bound, False)

    return handle


def _moved(handler: Handler) -> Handler:
    """A copy to another device or dtype. Where only the trace put a tensor elsewhere, the model moves nothing."""

    def handle(recorder: Recorder, func: OpOverload, args: Args, kwargs: Kwargs) -> Any:
        (x,), device = args, kwargs.get("device")
        if device is not None and torch.device(device).type in ("meta", recorder.home) and recorder.home != "meta":
            dtype, layout = kwargs.get("dtype"), kwargs.get("memory_format")
            if dtype in (None, x.dtype) and layout in (None, torch.preserve_format):
                return x
            kwargs = {name: value for name, value in kwargs.items() if name != "device"}
        return handler(recorder, func, args, kwargs)

    return handle


def _lowered(lowering: Lowering, rule: Rule, sig: Signature) -> Handler:
    core, passes, arguments = lowering.core, lowering.passes, lowering.arguments
    temporaries = TEMPORARIES.get(core)

    def handle(recorder: Recorder, func: OpOverload, args: Args, kwargs: Kwargs) -> Any:
        bound = sig.bind(args, kwargs, recorder)
        if passes is not None and passes(bound):
            return args[0]
        lowered = arguments(bound)
        if lowered is None:
            return recorder.decompose(func, args, kwargs)
        if temporaries is not None:
            for spec in temporaries(lowered):
                recorder.passing(spec)
        return recorder.answer(core, rule, func, args, kwargs, lowered, True)

    return handle
