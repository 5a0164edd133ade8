"""The dispatch mode that sees every aten op, answers it without computing, and writes it down.

It works below autograd: composite ops arrive whole, so a linear layer, an attention or an LSTM is one op, whatever
kernels a device would split it into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.errors import CostModelError, NeedsValuesError
from costmodel.graph import Arguments, OpCall, Role, TensorSpec, tensors_in
from costmodel.ops import Torch
from costmodel.trace.autocast import Autocast
from costmodel.trace.forms import Form, as_form
from costmodel.trace.handlers import Plan, handlers
from costmodel.trace.ledger import Ledger
from costmodel.trace.patterns import (
    Dispatch,
    Makes,
    MakesSeveral,
    Passes,
    Pattern,
    Patterns,
    Views,
    Writes,
    WritesOnly,
    patterns,
)
from costmodel.trace.signature import SIGNATURES, signature
from costmodel.trace.specs import META, empty_meta

_SMALL = 1 << 16
"""Constants up to so many elements are computed for real, so that a model may look at their values."""

_RANDOM = torch.Tag.nondeterministic_seeded
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
_WITHOUT_VALUES: frozenset[Role] = frozenset({"activation", "input"})
"""Roles of tensors that lie on meta: no op on one of these is carried out."""
_deeper, _back = torch.autocast_increment_nesting, torch.autocast_decrement_nesting
_NOTHING: Mapping[str, Any] = {}


@contextmanager
def below_autograd() -> Iterator[None]:
    """Ops skip autograd, so composite ones reach the recorder whole; and no tensor's version counter moves."""
    version_counters = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)
    with torch._C._ExcludeDispatchKeyGuard(version_counters), torch._C._AutoDispatchBelowAutograd():
        yield


class Recorder(Ledger, TorchDispatchMode):
    """Records one execution on meta tensors. ``RealRecorder`` records one with real tensors."""

    autocast: Autocast | None = None
    """What inserts autocast's casts, where it is on."""
    notices_autocast = True
    """Whether autocast must be noticed: it does nothing to meta tensors by itself."""
    remembers = True
    """Whether an op is answered as before on tensors of the same shapes."""

    wanted: CostModelError | None = None
    """Why this trace cannot tell what the model runs."""
    home = "cpu"
    """The type of device that the model lies on; its inputs are on meta instead."""
    supports_higher_order_operators = True
    """torch asks."""
    module = -1
    """Index of the innermost module call."""

    def __init__(self) -> None:
        Ledger.__init__(self)
        TorchDispatchMode.__init__(self)
        self._handlers = handlers()
        self._patterns = Patterns()
        self._known = self.specs.get
        self._touched: set[int] = set()
        """Storages of real tensors whose values no longer are what the model believes."""
        self._twins: dict[int, torch.Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would wrap the dispatch to switch its compiler off, at a cost for each op; nothing compiles here."""
        return False

    def __enter__(self) -> Recorder:
        if self.remembers and self.autocast is None:
            self._patterns = patterns(self.home)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        return self

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = _NOTHING
    ) -> Any:
        if self.dead:
            self.bury()
        sig = SIGNATURES.get(id(func))
        if sig is None:
            if isinstance(func, HigherOrderOperator):
                return self._higher(func, args, kwargs)
            sig = signature(func)
        if kwargs:
            given, named, key = sig.described(args, kwargs, self._known)
        else:
            (given, key), named = sig.describe[len(args)](args, self._known), kwargs
        try:
            pattern = self._patterns.get(key)
        except TypeError:  # an argument that cannot be hashed
            pattern = None
        if pattern is not None:
            _deeper()
            if not _back():  # no autocast
                return pattern.answer(self, (func, args, kwargs, given, named))
        return self._handlers[func](self, self.dispatched(func, args, kwargs))

    def wants(self, error: CostModelError) -> CostModelError:
        """An error that calls for another way of tracing, to be raised now, and after the forward if that caught it."""
        self.wanted = error
        return error

    def dispatched(self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Dispatch:
        """A call with records for all its tensors, those that were not known included."""
        for tensor in leaves((args, kwargs)):
            self.spec(tensor)
        return Dispatch(func, args, kwargs, *signature(func).described(args, kwargs, self._known))

    def record(self, op: str, args: Arguments, outputs: tuple[TensorSpec, ...], inplace: bool = False) -> None:
        """Writes down an op that no pattern answers."""
        noted = self.tape.noted
        noted.append(OpCall(op, args, outputs, self.module, len(noted), inplace))

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        super().forget()
        self._twins.clear()

    # -- answering: each way takes the plan for the op, the call, and the call's arguments by name ------------------

    def answer(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """The outputs of an op whose rule tells their shapes."""
        assert plan.rule is not None
        outputs_of = plan.rule.outputs
        if outputs_of is Torch.META or self._is_constant(call, bound):
            return self.run(plan, call, bound)
        assert not isinstance(outputs_of, Torch)  # a view has gone another way
        try:
            outputs = outputs_of(bound)
        except ValueError as error:
            raise RuntimeError(str(error)) from error  # which is what torch raises, and a model may expect
        temporaries = self._temporaries(plan, bound)
        pattern: Pattern
        if isinstance(outputs, TensorSpec):
            pattern = Makes(plan.op, plan.bind, temporaries, as_form(outputs))
        elif plan.only_first:
            first, *rest = map(as_form, outputs)
            pattern = Makes(plan.op, plan.bind, temporaries, first, tuple(rest), plan.allocates_rest)
        else:
            sig = signature(call.func)
            container = _nothing if sig.returns_nothing else list if sig.returns_list else tuple
            pattern = MakesSeveral(plan.op, plan.bind, temporaries, tuple(map(as_form, outputs)), container)
        return self._first(pattern, call)

    def _temporaries(self, plan: Plan, bound: Arguments) -> tuple[Form, ...]:
        return tuple([as_form(spec) for spec in plan.temporaries(bound)])

    def view(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """A view: torch's own kernel, on whatever tensor it is; the result shares its storage."""
        return self._first(Views(plan.op, plan.bind), call)

    def inplace(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """An op that writes its first argument: recorded, and carried out only on constants of the trace's own."""
        spec: TensorSpec = call.given[0]
        if spec.role not in _WITHOUT_VALUES:
            if self.tape.born[spec.storage] >= 0 and self._is_constant(call, bound):
                call.func(*call.args, **call.kwargs)
            else:
                self._touched.add(spec.storage)
            for form in self._temporaries(plan, bound):
                self.passing(form)
            self.record(plan.op, bound, (spec,), inplace=True)
            return returned(call)
        writes = WritesOnly if signature(call.func).returns_nothing else Writes
        return self._first(writes(plan.op, plan.bind, self._temporaries(plan, bound)), call)

    def resize(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """An op that changes its first argument's shape, and with it its memory."""
        raise self.wants(NeedsValuesError(f"{plan.op} resizes a tensor"))

    def idle(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """A call that does nothing and returns its first argument."""
        return self._first(Passes(plan.op, plan.bind), call)

    def run(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """The outputs of an op that torch itself must be asked for: its meta kernel, or a constant's real one."""
        func, args, kwargs = call.func, call.args, call.kwargs
        written = [self.spec(t) for t in leaves(signature(func).written(args, kwargs))]
        own = all(self.tape.born[spec.storage] >= 0 for spec in written)
        if own and self._is_constant(call, bound):
            result = func(*args, **kwargs)
        else:
            if any(tag in func.tags for tag in _DATA_DEPENDENT):
                raise self.wants(NeedsValuesError(f"{plan.op} needs the values of its inputs"))
            meta_args, meta_kwargs = map_leaves(args, self._twin), map_leaves(dict(kwargs), self._twin)
            if "device" in meta_kwargs:
                meta_kwargs["device"] = META
            try:
                result = func(*meta_args, **meta_kwargs)
            except NotImplementedError as error:
                raise self.wants(NeedsValuesError(f"{plan.op} cannot run without values: {error}")) from error
            result = map_leaves(result, lambda t: self._untwin(t, (args, kwargs)))
            self._touched.update(spec.storage for spec in written)
        for form in self._temporaries(plan, bound):
            self.passing(form)
        self.record(plan.op, bound, self.adopt(result))
        return result

    def read(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """A tensor's value, where it is real and untouched."""
        if not self._is_constant(call, bound):
            raise self.wants(NeedsValuesError(f"{plan.op} reads the value of a tensor that the trace does not compute"))
        self.record(plan.op, bound, ())
        return call.func(*call.args, **call.kwargs)

    def decompose(self, call: Dispatch) -> Any:
        """A composite op without a rule: torch's own decomposition, whose ops come back here."""
        # The C++ kernel, as eager torch runs it; ``func.decompose`` would prefer Python decompositions where there are.
        with self:
            return call.func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *call.args, **call.kwargs)

    def _higher(self, func: HigherOrderOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """An op that takes functions: torch's own way through them, whose ops come back here."""
        kernel = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
        if kernel is None:
            raise RuntimeError(f"HigherOrderOperator {func.name()} has no way through its functions")
        with self:
            if func.name() != "cond":
                return kernel(*args, **kwargs)
            condition, then, otherwise, operands = args  # its kernel wants no mode
            return (then if condition else otherwise)(*operands)

    def _first(self, pattern: Pattern, call: Dispatch) -> Any:
        """Lets a new pattern answer the call that it was made of, and from now on all that are like it."""
        if self.remembers and any(spec.role in _WITHOUT_VALUES for spec in tensors_in((call.given, call.named))):
            self._patterns.remember(call, pattern)
        return pattern.answer(self, (call.func, call.args, call.kwargs, call.given, call.named))

    def _is_constant(self, call: Dispatch, bound: Arguments) -> bool:
        """Whether the op's inputs are all real, small and as the model believes, so that it may run for real."""
        if _RANDOM in call.func.tags:
            return False
        elements = _asked_size(bound)
        for spec in tensors_in(bound):
            if spec.role in _WITHOUT_VALUES or spec.storage in self._touched:
                return False
            elements += spec.size
        device = call.kwargs.get("device")
        if device is not None and torch.device(device).type == "meta":
            return False
        return elements <= _SMALL and not any(t.is_meta for t in leaves((call.args, call.kwargs)))

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_meta:
            return tensor
        twin = self._twins.get(id(tensor))
        if twin is None:
            twin = self._twins[id(tensor)] = empty_meta(self.spec(tensor))
        return twin

    def _untwin(self, tensor: torch.Tensor, given: Any) -> torch.Tensor:
        # A kernel that returned (the twin of) its argument returned the argument.
        for original in leaves(given):
            if self._twins.get(id(original)) is tensor:
                if original.shape != tensor.shape:
                    raise self.wants(NeedsValuesError("an op resizes a tensor that it is given"))
                return original
        return tensor


def returned(call: Dispatch) -> Any:
    """What an in-place op returns: its first argument, or nothing."""
    return None if signature(call.func).returns_nothing else call.args[0]


def _nothing(made: list[torch.Tensor]) -> None:
    """What is returned of no tensors."""


def leaves(value: Any) -> Iterable[torch.Tensor]:
    """Every tensor in an op's arguments or results."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)


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
    start, end = bound.get("start") or 0, bound.get("end")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)):
        return int(abs((end - start) / (bound.get("step") or 1)))
    return int(bound.get("n", 0) or 0) * int(bound.get("m", 1) or 1) if isinstance(bound.get("n"), int) else 0
