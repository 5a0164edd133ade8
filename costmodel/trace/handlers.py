"""Which of the recorder's ways an op goes: planned once for each op, then looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch._ops import OpOverload

from costmodel.graph import Arguments, TensorSpec
from costmodel.ops import COMPOSITES, RULES, Composite, Rule, Torch, find
from costmodel.ops.movement import TO
from costmodel.ops.rule import no_temporaries
from costmodel.trace.autocast import watched
from costmodel.trace.patterns import Bind, Dispatch
from costmodel.trace.signature import Signature, signature

if TYPE_CHECKING:
    from costmodel.trace.recorder import Recorder

Handler: TypeAlias = Callable[["Recorder", Dispatch], Any]
"""Takes a call as it arrived, and returns what the op returns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of an op before any call of it."""

    op: str
    """The op that is recorded."""
    bind: Bind
    rule: Rule | None = None
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries
    only_first: bool = False
    """Whether its further outputs are received by nobody."""
    allocates_rest: bool = True
    """Whether those are allocated."""


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
    if func.namespace == "profiler":  # where a label begins or ends: nothing to write down
        return lambda recorder, call: call.func(*call.args, **call.kwargs)
    if rule is not None:
        return _moved(_ruled(op, rule, sig)) if op == TO else _ruled(op, rule, sig)
    if op in COMPOSITES and COMPOSITES[op].core in RULES:
        return _lowered(COMPOSITES[op], RULES[COMPOSITES[op].core], sig)
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return lambda recorder, call: recorder.decompose(call)
    if torch.Tag.inplace_view in func.tags:
        return _by("resize", Plan(op, sig.bind))
    if sig.outs:
        return _by("run", Plan(_without_out(func, sig), sig.bind))
    if sig.is_view:
        return _by("view", Plan(op, sig.bind))
    if sig.is_inplace:
        return _by("inplace", Plan(op, sig.bind))
    return _by("run", Plan(op, sig.bind))


def _without_out(func: OpOverload, sig: Signature) -> str:
    """The overload that returns what this one writes into ``out``, where that has a rule: they cost the same."""
    packet = func.overloadpacket
    twins = (getattr(packet, name) for name in packet.overloads())
    return next((str(twin) for twin in twins if signature(twin).takes == sig.takes and find(str(twin))), str(func))


def _by(method: str, plan: Plan) -> Handler:
    """The recorder's method of this name: a ``RealRecorder`` has others."""
    return lambda recorder, call: getattr(recorder, method)(plan, call, plan.bind(call.given, call.named))


def _ruled(op: str, rule: Rule, sig: Signature) -> Handler:
    plan = Plan(op, sig.bind, rule, rule.temporaries)
    method = _OF_TORCH.get(rule.outputs) if isinstance(rule.outputs, Torch) else None
    return _by(method or ("inplace" if sig.is_inplace else "answer"), plan)


_OF_TORCH = {Torch.VIEW: "view", Torch.VALUE: "read", Torch.RESIZED: "resize"}
"""The recorder's method by what a rule leaves to torch."""


def _moved(handler: Handler) -> Handler:
    """A copy to another device or dtype. Where only the trace put a tensor elsewhere, the model moves nothing."""

    def handle(recorder: Recorder, call: Dispatch) -> Any:
        (x,), kwargs = call.args, call.kwargs
        device = kwargs.get("device")
        if device is not None and torch.device(device).type in ("meta", recorder.home) and recorder.home != "meta":
            dtype, layout = kwargs.get("dtype"), kwargs.get("memory_format")
            if dtype in (None, x.dtype) and layout in (None, torch.preserve_format):
                return x
            stays = {name: value for name, value in kwargs.items() if name != "device"}
            return handler(recorder, recorder.dispatched(call.func, call.args, stays))
        return handler(recorder, call)

    return handle


def _lowered(composite: Composite, rule: Rule, sig: Signature) -> Handler:
    def bind(given: Any, named: Any) -> Arguments:
        lowered = composite.arguments(sig.bind(given, named))
        assert lowered is not None  # the first call of the pattern was not decomposed
        return lowered

    plan = Plan(
        composite.core, bind, rule, composite.temporaries or rule.temporaries, True, composite.temporaries is None
    )
    is_view = rule.outputs is Torch.VIEW

    def handle(recorder: Recorder, call: Dispatch) -> Any:
        bound = sig.bind(call.given, call.named)
        if composite.is_identity(bound):
            return recorder.idle(plan, call, bound)
        lowered = composite.arguments(bound)
        if lowered is None:
            return recorder.decompose(call)
        return recorder.view(plan, call, lowered) if is_view else recorder.answer(plan, call, lowered)

    return handle
