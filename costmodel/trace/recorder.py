"""The dispatch mode that sees every aten op, answers it without computing, and writes it down.

It works below autograd: composite ops arrive whole, so a linear layer, an attention or an LSTM is one op, whatever
kernels a device would split it into.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, Role, Storage, TensorSpec, tensors_in
from costmodel.ops import Rule, Torch
from costmodel.trace.autocast import Autocast
from costmodel.trace.handlers import Args, Kwargs, handlers
from costmodel.trace.signature import signature
from costmodel.trace.specs import DTYPE_NAME, META, empty_meta, map_tensors, spec_of

_SMALL = 1 << 16
"""Constants up to so many elements are computed for real, so that a model may look at their values."""

_RANDOM = torch.Tag.nondeterministic_seeded
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@contextmanager
def below_autograd() -> Iterator[None]:
    """Ops skip autograd, so composite ones reach the recorder whole; and no tensor's version counter moves."""
    version_counters = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)
    with torch._C._ExcludeDispatchKeyGuard(version_counters), torch._C._AutoDispatchBelowAutograd():
        yield


class _Death(weakref.ref):  # type: ignore[type-arg]  # weakref.ref is generic in stubs only
    """A weak reference that knows which tensor's end it reports, and what its record was."""

    __slots__ = ("key", "spec")
    key: int
    spec: TensorSpec


class Recorder(TorchDispatchMode):
    """Records one execution on meta tensors. ``RealRecorder`` records one with real tensors."""

    autocast: Autocast | None = None
    """What inserts autocast's casts, where it is on."""
    notices_autocast = True
    """Whether autocast must be noticed: it does nothing to meta tensors by itself."""

    home = "cpu"
    """The type of device that the model lies on; its inputs are on meta instead."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self._handlers = handlers()
        self.ops: list[OpCall] = []
        self.storages: list[Storage] = []
        self.module = -1
        """Index of the innermost module call."""
        self.specs: dict[int, TensorSpec] = {}
        """The record of every tensor that lives, by identity."""
        self._held: dict[int, torch.Tensor] = {}
        """Tensors from outside, which must not end, and their identities with them, before the trace does."""
        self._deaths: list[_Death] = []
        """A weak reference to every tensor that an op made; it takes the record away when the tensor ends."""
        self._users: list[int] = []
        """How many of those live on each storage."""
        self._touched: set[int] = set()
        """Storages of real tensors whose values no longer are what the model believes."""
        self._twins: dict[int, torch.Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would wrap the dispatch to switch its compiler off, at a cost for each op; nothing compiles here."""
        return False

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        return self._handlers[func](self, func, args, kwargs or {})

    # -- tensors and their storages -----------------------------------------------------------------------------

    def know(self, tensor: torch.Tensor, role: Role, name: str = "") -> TensorSpec:
        """Takes a tensor that exists before the first op into the records, and holds it until the trace ends."""
        spec = spec_of(tensor)
        spec.role, spec.name = role, name
        self._store(spec, born=-1)
        return self.stands_for(tensor, spec)

    def know_own(self, tensor: torch.Tensor, role: Role, name: str) -> TensorSpec:
        """Takes a parameter or buffer into the records; ``model_kept`` holds it."""
        if tensor.layout is not torch.strided:
            return self.know(tensor, role, name)
        strides = None if tensor.is_contiguous() else tuple(tensor.stride())
        storages = self.storages
        spec = self.specs[id(tensor)] = TensorSpec(
            tuple(tensor.shape), DTYPE_NAME[tensor.dtype], strides, len(storages), role, name
        )
        storages.append(Storage(tensor.nbytes, role, -1))
        self._users.append(0)
        return spec

    def stands_for(self, tensor: torch.Tensor, spec: TensorSpec) -> TensorSpec:
        """Lets a record speak for a tensor, and holds the tensor until the trace ends."""
        self.specs[id(tensor)] = spec
        self._held[id(tensor)] = tensor
        return spec

    def know_input(self, tensor: torch.Tensor) -> TensorSpec:
        """Takes one of the model's inputs into the records."""
        return self.know(tensor, "input")

    def spec(self, tensor: torch.Tensor) -> TensorSpec:
        """The record of a tensor that an op reads."""
        spec = self.specs.get(id(tensor))
        if spec is None:
            # Made by the model before (a plain attribute), or by torch without an op.
            spec = self.know(tensor, "activation" if tensor.is_meta else "constant")
        return spec

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        self._deaths.clear()
        self._held.clear()
        self.specs.clear()
        self._twins.clear()

    def _store(self, spec: TensorSpec, born: int) -> None:
        storages = self.storages
        spec.storage = len(storages)
        storages.append(Storage(spec.nbytes, spec.role, born))
        self._users.append(0)

    def _watch(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        # Weak: the model decides how long a tensor lives, and so when its storage is freed.
        death = _Death(tensor, self._on_death)
        key = death.key = id(tensor)
        death.spec = self.specs[key] = spec
        self._deaths.append(death)
        self._users[spec.storage] += 1

    def _on_death(self, death: _Death) -> None:
        spec = death.spec
        if self.specs.get(death.key) is spec:
            del self.specs[death.key]
        users, storage = self._users, spec.storage
        left = users[storage] = users[storage] - 1
        if left == 0:
            self.storages[storage].freed = len(self.ops) - 1

    # -- recording ----------------------------------------------------------------------------------------------

    def record(self, op: str, args: Arguments, outputs: tuple[TensorSpec, ...], inplace: bool = False) -> None:
        """Writes one op down."""
        self.ops.append(OpCall(op, args, outputs, self.module, len(self.ops), inplace))

    def fresh(self, spec: TensorSpec) -> torch.Tensor:
        """A new tensor for an op's output, on a storage of its own."""
        self._store(spec, len(self.ops))
        tensor = _template(spec.shape, spec.dtype, spec.strides).detach()
        self._watch(tensor, spec)
        return tensor

    def passing(self, spec: TensorSpec) -> None:
        """An output that the op allocates and nobody receives: freed as soon as the op has run."""
        if 0 in spec.shape:
            return
        self._store(spec, len(self.ops))
        self.storages[spec.storage].freed = len(self.ops)

    def adopt(self, result: Any, base: TensorSpec | None = None) -> tuple[TensorSpec, ...]:
        """Takes what a kernel of torch's returned into the records: on the storage of ``base``, or on a new one."""

        def take(tensor: torch.Tensor) -> TensorSpec:
            known = self.specs.get(id(tensor))
            if known is not None:
                return known
            spec = spec_of(tensor)
            if base is not None:
                spec.storage, spec.role, spec.name = base.storage, base.role, base.name
            else:
                spec.role = "activation" if tensor.is_meta else "constant"
                self._store(spec, len(self.ops))
            self._watch(tensor, spec)
            return spec

        return tuple(tensors_in(map_tensors(result, take)))

    # -- answering: each takes the call as it arrived and its arguments by name ------------------------------------

    def answer(
        self, op: str, rule: Rule, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments, only_first: bool
    ) -> Any:
        """The outputs of an op whose rule tells their shapes."""
        outputs_of = rule.outputs
        if outputs_of is Torch.META or self._is_constant(func, args, kwargs, bound):
            return self.run(op, func, args, kwargs, bound)
        assert not isinstance(outputs_of, Torch)  # a view has gone another way
        outputs = outputs_of(bound)
        result: Any
        if isinstance(outputs, TensorSpec):
            result = self.fresh(outputs)
            outputs = (outputs,)
        elif only_first:
            result = self.fresh(outputs[0])
            for spec in outputs[1:]:
                self.passing(spec)
        else:
            result = tuple(self.fresh(spec) for spec in outputs)
            if signature(func).returns_list:
                result = list(result)
        self.record(op, bound, outputs)
        return result

    def run(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """The outputs of an op that torch itself must be asked for: its meta kernel, or a constant's real one."""
        written = [self.spec(t) for t in leaves(signature(func).written(args, kwargs))]
        own = all(self.storages[spec.storage].born >= 0 for spec in written)
        if own and self._is_constant(func, args, kwargs, bound):
            result = func(*args, **kwargs)
        else:
            if any(tag in func.tags for tag in _DATA_DEPENDENT):
                raise NeedsValuesError(f"{op} needs the values of its inputs")
            meta_args, meta_kwargs = map_leaves(args, self._twin), map_leaves(dict(kwargs), self._twin)
            if "device" in meta_kwargs:
                meta_kwargs["device"] = META
            try:
                result = func(*meta_args, **meta_kwargs)
            except NotImplementedError as error:
                raise NeedsValuesError(f"{op} cannot run without values: {error}") from error
            result = map_leaves(result, lambda t: self._untwin(t, (args, kwargs)))
            self._touched.update(spec.storage for spec in written)
        self.record(op, bound, self.adopt(result))
        return result

    def view(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """A view: torch's own kernel, on whatever tensor it is; the result shares its storage."""
        result = func(*args, **kwargs)
        base = next(tensors_in(bound))
        if result is args[0]:  # an in-place change of shape, or a view that changes nothing
            new = spec_of(result)
            new.storage, new.role, new.name = base.storage, base.role, base.name
            self._watch(result, new)
        self.record(op, bound, self.adopt(result, base))
        return result

    def inplace(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """An op that writes its first argument: recorded, and carried out only on constants of the trace's own."""
        spec = self.spec(args[0])
        if spec.role != "activation" and spec.role != "input":
            if self.storages[spec.storage].born >= 0 and self._is_constant(func, args, kwargs, bound):
                func(*args, **kwargs)
            else:
                self._touched.add(spec.storage)
        self.record(op, bound, (spec,), inplace=True)
        return args[0]

    def read(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """A tensor's value, where it is real and untouched."""
        if not self._is_constant(func, args, kwargs, bound):
            raise NeedsValuesError(f"{op} reads the value of a tensor that the trace does not compute")
        self.record(op, bound, ())
        return func(*args, **kwargs)

    def decompose(self, func: OpOverload, args: Args, kwargs: Kwargs) -> Any:
        """A composite op without a rule: torch's own decomposition, whose ops come back here."""
        # The C++ kernel, as eager torch runs it; ``func.decompose`` would prefer Python decompositions where there are.
        with self:
            return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)

    def _is_constant(self, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> bool:
        """Whether the op's inputs are all real, small and as the model believes, so that it may run for real."""
        for value in bound.values():  # the hot path: nearly every op reads an activation, mostly first
            if type(value) is TensorSpec and (value.role == "activation" or value.role == "input"):
                return False
        if _RANDOM in func.tags:
            return False
        elements = _asked_size(bound)
        for spec in tensors_in(bound):
            if spec.role in ("activation", "input") or spec.storage in self._touched:
                return False
            elements += spec.size
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "meta":
            return False
        return elements <= _SMALL and not any(t.is_meta for t in leaves((args, kwargs)))

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
                return original
        return tensor


@lru_cache(maxsize=4096)
def _template(shape: tuple[int, ...], dtype: str, strides: tuple[int, ...] | None) -> torch.Tensor:
    """A tensor without memory, to be detached: another one over the same no memory takes a quarter of the time."""
    return empty_meta(TensorSpec(shape, dtype, strides))


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
    if isinstance(bound.get("end"), (int, float)):
        return int(abs((bound["end"] - (bound.get("start") or 0)) / (bound.get("step") or 1)))
    return int(bound.get("n", 0) or 0) * int(bound.get("m", 1) or 1) if isinstance(bound.get("n"), int) else 0
