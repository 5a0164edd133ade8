"""The dispatch mode that sees every aten op, answers it without computing, and writes it down.

It works below autograd: composite ops arrive whole, so a linear layer, an attention or an LSTM is one op, whatever
kernels a device would split it into.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, Role, Storage, TensorSpec, tensors_in
from costmodel.ops import RULES, Rule, Torch, find
from costmodel.trace.lowering import LOWERINGS, Lowering
from costmodel.trace.signature import Signature, signature
from costmodel.trace.specs import empty_meta, map_tensors, spec_of

_SMALL = 1 << 16
"""Constants up to so many elements are computed for real, so that a model may look at their values."""

_READS = frozenset({"aten._local_scalar_dense.default", "aten.equal.default"})
"""Ops that hand a tensor's value to Python."""

_RANDOM = torch.Tag.nondeterministic_seeded
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class _Death(weakref.ref):  # type: ignore[type-arg]  # weakref.ref is generic in stubs only
    """A weak reference that knows which tensor's end it reports."""

    __slots__ = ("key", "storage")
    key: int
    storage: int


@dataclass(slots=True)
class _Known:
    """A live tensor's record."""

    spec: TensorSpec
    hold: _Death | torch.Tensor


Handler = Callable[["Recorder", OpOverload, Sequence[Any], Mapping[str, Any]], Any]
_HANDLERS: dict[OpOverload, Handler] = {}
_handlers_for = 0


class Recorder(TorchDispatchMode):
    """Records one execution on meta tensors. ``RealRecorder`` records one with real tensors."""

    def __init__(self) -> None:
        super().__init__()
        global _handlers_for
        if _handlers_for != len(RULES):  # rules were registered since: earlier choices may be stale
            _HANDLERS.clear()
            _handlers_for = len(RULES)
        self.ops: list[OpCall] = []
        self.storages: list[Storage] = []
        self.module = -1
        """Index of the innermost module call."""
        self._known: dict[int, _Known] = {}
        self._alive: dict[int, int] = {}
        self._touched: set[int] = set()
        """Storages of real tensors whose values no longer are what the model believes."""
        self._twins: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is None:
            handler = _HANDLERS[func] = _choose(func)
        return handler(self, func, args, kwargs or {})

    # -- tensors and their storages -----------------------------------------------------------------------------

    def know(self, tensor: torch.Tensor, role: Role, name: str = "", same_as: TensorSpec | None = None) -> TensorSpec:
        """Takes a tensor that exists before the first op into the records, and holds it until the trace ends."""
        if same_as is None:
            spec = spec_of(tensor)
            spec.role, spec.name = role, name
            spec.storage = self._store(spec, role, born=-1)
        else:
            spec = same_as
        self._known[id(tensor)] = _Known(spec, tensor)
        return spec

    def know_input(self, tensor: torch.Tensor) -> TensorSpec:
        """Takes one of the model's inputs into the records."""
        return self.know(tensor, "input")

    def spec(self, tensor: torch.Tensor) -> TensorSpec:
        """The record of a tensor that an op reads."""
        known = self._known.get(id(tensor))
        if known is not None:
            return known.spec
        # Made by the model before (a plain attribute), or by torch without an op.
        return self.know(tensor, "activation" if tensor.is_meta else "constant")

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        self._known.clear()
        self._twins.clear()

    def _store(self, spec: TensorSpec, role: Role, born: int) -> int:
        self.storages.append(Storage(spec.nbytes, role, born))
        return len(self.storages) - 1

    def _watch(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        # Weak: the model decides how long a tensor lives, and so when its storage is freed.
        death = _Death(tensor, self._on_death)
        death.key, death.storage = id(tensor), spec.storage
        self._known[id(tensor)] = _Known(spec, death)
        self._alive[spec.storage] = self._alive.get(spec.storage, 0) + 1

    def _on_death(self, death: _Death) -> None:
        known = self._known.get(death.key)
        if known is not None and known.hold is death:
            del self._known[death.key]
        left = self._alive[death.storage] = self._alive[death.storage] - 1
        if left == 0:
            self.storages[death.storage].freed = len(self.ops) - 1

    # -- recording ----------------------------------------------------------------------------------------------

    def record(self, op: str, args: Arguments, outputs: tuple[TensorSpec, ...], inplace: bool = False) -> None:
        """Writes one op down."""
        self.ops.append(OpCall(op, args, outputs, self.module, len(self.ops), inplace))

    def fresh(self, spec: TensorSpec) -> torch.Tensor:
        """A new tensor for an op's output, on a storage of its own."""
        spec.storage = self._store(spec, spec.role, len(self.ops))
        tensor = empty_meta(spec)
        self._watch(tensor, spec)
        return tensor

    def passing(self, spec: TensorSpec) -> None:
        """An output that the op allocates and nobody receives: freed as soon as the op has run."""
        spec.storage = self._store(spec, spec.role, len(self.ops))
        self.storages[spec.storage].freed = len(self.ops)

    def adopt(self, result: Any, base: TensorSpec | None = None) -> tuple[TensorSpec, ...]:
        """Takes what a kernel of torch's returned into the records: on the storage of ``base``, or on a new one."""

        def take(tensor: torch.Tensor) -> TensorSpec:
            known = self._known.get(id(tensor))
            if known is not None:
                return known.spec
            spec = spec_of(tensor)
            if base is not None:
                spec.storage, spec.role, spec.name = base.storage, base.role, base.name
            else:
                spec.role = "activation" if tensor.is_meta else "constant"
                spec.storage = self._store(spec, spec.role, len(self.ops))
            self._watch(tensor, spec)
            return spec

        return tuple(tensors_in(map_tensors(result, take)))

    # -- answering ----------------------------------------------------------------------------------------------

    def answer(self, op: str, rule: Rule, func: OpOverload, call: Call, only_first: bool) -> Any:
        """The outputs of an op whose rule tells their shapes."""
        if rule.outputs is Torch.META or self._is_constant(func, call):
            return self.run(op, func, call)
        assert callable(rule.outputs)
        outputs = rule.outputs(call.bound)
        if type(outputs) is TensorSpec:
            tensor = self.fresh(outputs)
            self.record(op, call.bound, (outputs,))
            return tensor
        assert type(outputs) is tuple
        if only_first:
            result: Any = self.fresh(outputs[0])
            for spec in outputs[1:]:
                self.passing(spec)
        else:
            result = tuple(self.fresh(spec) for spec in outputs)
            if signature(func).returns_list:
                result = list(result)
        self.record(op, call.bound, outputs)
        return result

    def run(self, op: str, func: OpOverload, call: Call) -> Any:
        """The outputs of an op that torch itself must be asked for: its meta kernel, or a constant's real one."""
        if any(tag in func.tags for tag in _DATA_DEPENDENT) and not self._is_constant(func, call):
            raise NeedsValuesError(f"{op} needs the values of its inputs")
        if self._is_constant(func, call):
            result = func(*call.args, **call.kwargs)
        else:
            args, kwargs = map_leaves(call.args, self._twin), map_leaves(dict(call.kwargs), self._twin)
            if "device" in kwargs:
                kwargs["device"] = torch.device("meta")
            try:
                result = func(*args, **kwargs)
            except NotImplementedError as error:
                raise NeedsValuesError(f"{op} cannot run without values: {error}") from error
            result = map_leaves(result, lambda t: self._untwin(t, call))
        outputs = self.adopt(result)
        self.record(op, call.bound, outputs)
        return result

    def view(self, op: str, func: OpOverload, call: Call) -> Any:
        """A view: torch's own kernel, on whatever tensor it is; the result shares its storage."""
        result = func(*call.args, **call.kwargs)
        base = next(tensors_in(call.bound))
        if result is call.args[0]:  # an in-place change of shape, or a view that changes nothing
            self._reshape(result, base)
        outputs = self.adopt(result, base)
        self.record(op, call.bound, outputs)
        return result

    def inplace(self, op: str, func: OpOverload, call: Call) -> Any:
        """An op that writes its first argument: recorded, and carried out only on constants of the trace's own."""
        target = call.args[0]
        spec = self.spec(target)
        if spec.role not in ("activation", "input"):
            if self.storages[spec.storage].born >= 0 and self._is_constant(func, call):
                func(*call.args, **call.kwargs)
            else:
                self._touched.add(spec.storage)
        self.record(op, call.bound, (spec,), inplace=True)
        return target

    def read(self, op: str, func: OpOverload, call: Call) -> Any:
        """A tensor's value, where it is real and untouched."""
        if not self._is_constant(func, call):
            raise NeedsValuesError(f"{op} reads the value of a tensor that the trace does not compute")
        result = func(*call.args, **call.kwargs)
        self.record(op, call.bound, ())
        return result

    def decompose(self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A composite op without a rule: torch's own decomposition, whose ops come back here."""
        # The C++ kernel, as eager torch runs it; ``func.decompose`` would prefer Python decompositions where there are.
        with self:
            return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)

    def _is_constant(self, func: OpOverload, call: Call) -> bool:
        """Whether the op's inputs are all real, small and as the model believes, so that it may run for real."""
        for value in call.bound.values():  # the hot path: nearly every op reads an activation, mostly first
            if type(value) is TensorSpec and (value.role == "activation" or value.role == "input"):
                return False
        if any(spec.role in ("activation", "input") for spec in tensors_in(call.bound)):
            return False
        if _RANDOM in func.tags:
            return False
        elements = 0
        for spec in tensors_in(call.bound):
            if spec.storage in self._touched:
                return False
            elements += spec.size
        device = call.kwargs.get("device")
        if device is not None and torch.device(device).type == "meta":
            return False
        if any(t.is_meta for t in _leaves((call.args, call.kwargs))):
            return False
        return elements <= _SMALL and _asked_size(call.bound) <= _SMALL

    def _reshape(self, tensor: torch.Tensor, old: TensorSpec) -> None:
        new = spec_of(tensor)
        old_known = self._known[id(tensor)]
        old_known.spec = TensorSpec(new.shape, new.dtype, new.strides, old.storage, old.role, old.name)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_meta:
            return tensor
        twin = self._twins.get(id(tensor))
        if twin is None:
            twin = self._twins[id(tensor)] = empty_meta(self.spec(tensor))
        return twin

    def _untwin(self, tensor: torch.Tensor, call: Call) -> torch.Tensor:
        # A kernel that returned (the twin of) its argument returned the argument.
        for original in _leaves((call.args, call.kwargs)):
            if self._twins.get(id(original)) is tensor:
                return original
        return tensor


@dataclass(slots=True)
class Call:
    """One call as it arrived, and its arguments by name."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    bound: Arguments


def _leaves(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)


def map_leaves(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Arguments or results of an op with every tensor changed and every other object kept."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map_leaves(item, change) for item in value)
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    return value


def _asked_size(bound: Arguments) -> int:
    """Elements that a factory op is asked to make, as far as its arguments say."""
    size = bound.get("size")
    if isinstance(size, (tuple, list)):
        elements = 1
        for n in size:
            elements *= n
        return elements
    if isinstance(bound.get("end"), (int, float)):
        return int(abs((bound["end"] - (bound.get("start") or 0)) / (bound.get("step") or 1)))
    return int(bound.get("n", 0) or 0) * int(bound.get("m", 1) or 1) if isinstance(bound.get("n"), int) else 0


# -- which handler an op gets: chosen once, then looked up ---------------------------------------------------------


def _choose(func: OpOverload) -> Handler:
    op = str(func)
    sig = signature(func)
    rule = find(op)
    if op in _READS:
        return lambda recorder, f, args, kwargs: recorder.read(op, f, _bind(recorder, sig, args, kwargs))
    if rule is not None:
        return _ruled(op, rule, sig)
    if op in LOWERINGS and LOWERINGS[op].core in RULES:
        return _lowered(LOWERINGS[op], RULES[LOWERINGS[op].core], sig)
    if _is_composite(func):
        return Recorder.decompose
    if sig.is_view:
        return lambda recorder, f, args, kwargs: recorder.view(op, f, _bind(recorder, sig, args, kwargs))
    if sig.is_inplace:
        return lambda recorder, f, args, kwargs: recorder.inplace(op, f, _bind(recorder, sig, args, kwargs))
    return lambda recorder, f, args, kwargs: recorder.run(op, f, _bind(recorder, sig, args, kwargs))


def _ruled(op: str, rule: Rule, sig: Signature) -> Handler:
    if rule.outputs is Torch.VIEW:
        return lambda recorder, f, args, kwargs: recorder.view(op, f, _bind(recorder, sig, args, kwargs))
    if sig.is_inplace:
        return lambda recorder, f, args, kwargs: recorder.inplace(op, f, _bind(recorder, sig, args, kwargs))

    def answer(recorder: Recorder, f: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return recorder.answer(op, rule, f, _bind(recorder, sig, args, kwargs), only_first=False)

    return answer


def _lowered(lowering: Lowering, rule: Rule, sig: Signature) -> Handler:
    def answer(recorder: Recorder, f: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        bound = sig.bind(args, kwargs, recorder.spec)
        if lowering.passes is not None and lowering.passes(bound):
            return args[0]
        core = lowering.arguments(bound)
        if core is None:
            return recorder.decompose(f, args, kwargs)
        return recorder.answer(lowering.core, rule, f, Call(args, kwargs, core), only_first=True)

    return answer


def _bind(recorder: Recorder, sig: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    return Call(args, kwargs, sig.bind(args, kwargs, recorder.spec))


def _is_composite(func: OpOverload) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
