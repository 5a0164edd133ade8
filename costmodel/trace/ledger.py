"""Which record speaks for which tensor, and how long each storage lives."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from costmodel.errors import InputError
from costmodel.graph import Role, TensorSpec, tensors_in
from costmodel.trace.forms import FORMS, Form
from costmodel.trace.specs import DTYPE_NAME, map_tensors, spec_of
from costmodel.trace.tape import Tape

_LAZY = (UninitializedParameter, UninitializedBuffer)


class _Death(weakref.ref):  # type: ignore[type-arg]  # weakref.ref is generic in stubs only
    """A weak reference that knows which tensor's end it reports, and what its record was."""

    __slots__ = ("key", "spec")
    key: int
    spec: TensorSpec


class Ledger:
    """Every tensor that lives during a trace."""

    def __init__(self) -> None:
        self.modules: Iterable[torch.nn.Module] = ()
        self.tape = Tape()
        self.specs: dict[int, TensorSpec] = {}
        """The record of every tensor that lives, by identity. ``bury`` before looking here, if anyone is ``dead``."""
        self.dead: list[_Death] = []
        """Tensors that ended, and still have a record."""
        self._report = self.dead.append
        self._deaths: list[_Death] = []
        """A weak reference to every tensor that an op made."""
        self._users: dict[int, int] = {}
        """How many of those live on each storage, where it ever was more than one.

        A tensor that was there before the first op counts as one that never ends: others hold it.
        """
        self._held: dict[int, torch.Tensor] = {}
        """Tensors from outside, which must not end, and their identities with them, before the trace does."""

    def bury(self) -> None:
        """Takes the records of tensors that ended away, before their identities can be mistaken for those of others.

        That may wait until the next op or module call: no op runs between a tensor's end and then.
        """
        specs, users, tape = self.specs, self._users, self.tape
        while self.dead:
            death = self.dead.pop()
            spec = death.spec
            if specs.get(death.key) is spec:
                del specs[death.key]
            left = users.get(spec.storage, 1) - 1
            if left:
                users[spec.storage] = left
            else:
                tape.freed[spec.storage] = len(tape.noted) - 1

    def forget(self) -> None:
        """Lets go of every tensor; the records stay."""
        self.bury()
        self._deaths.clear()
        self._held.clear()
        self.specs.clear()

    # -- tensors that were there before -------------------------------------------------------------------------

    def spec(self, tensor: torch.Tensor) -> TensorSpec:
        """The record of a tensor."""
        if self.dead:
            self.bury()
        spec = self.specs.get(id(tensor))
        if spec is None:
            spec = self.know(tensor, "activation" if tensor.is_meta else "constant")
            if id(tensor) not in self._attributes:  # made by torch without an op: ``torch.from_numpy``
                self.tape.met[spec.storage] = len(self.tape.noted)
        return spec

    @cached_property
    def _attributes(self) -> frozenset[int]:
        """The identities of tensors that modules hold as plain attributes, alone or in a list or a dictionary."""
        found = []
        for module in self.modules:
            for value in vars(module).values():
                items = (
                    value if isinstance(value, (list, tuple)) else value.values() if type(value) is dict else [value]
                )
                found += [id(item) for item in items if isinstance(item, torch.Tensor)]
        return frozenset(found)

    def know(self, tensor: torch.Tensor, role: Role, name: str = "") -> TensorSpec:
        """Takes a tensor that exists before the first op into the records, and holds it until the trace ends."""
        spec = self._seen(tensor, role, name)
        self.tape.store(spec, -1)
        return self.stands_for(tensor, spec)

    def know_own(self, tensors: Mapping[str, torch.Tensor | None], prefix: str, role: Role) -> tuple[TensorSpec, ...]:
        """Takes the parameters or the buffers of a module into the records; ``model_kept`` holds them."""
        known, stored, born = self.specs, self.tape.stored, self.tape.born
        specs = []
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            spec = known.get(id(tensor))
            if spec is None:
                if type(tensor) in _LAZY:
                    raise InputError(
                        f"{prefix + name} has no shape yet, its layer is lazy: run the model once on real input, or "
                        f"build it with explicit sizes"
                    )
                if tensor.layout is torch.strided:
                    strides = None if tensor.is_contiguous() else tensor.stride()
                    form = FORMS[tensor.shape, DTYPE_NAME[tensor.dtype], strides, role]
                    spec = TensorSpec(form.shape, form.dtype, strides, len(stored), role, prefix + name, form)
                    stored.append(spec)
                    born.append(-1)
                    known[id(tensor)] = spec
                else:
                    spec = self.know(tensor, role, prefix + name)
                if role == "parameter":
                    spec.trainable = tensor.requires_grad
            specs.append(spec)
        return tuple(specs)

    def know_input(self, tensor: torch.Tensor) -> TensorSpec:
        """Takes one of the model's inputs into the records."""
        return self.know(tensor, "input")

    def stands_for(self, tensor: torch.Tensor, spec: TensorSpec) -> TensorSpec:
        """Lets a record speak for a tensor, and holds the tensor until the trace ends."""
        self.specs[id(tensor)] = spec
        self._held[id(tensor)] = tensor
        return spec

    # -- tensors that an op makes -------------------------------------------------------------------------------

    def make(self, form: Form) -> tuple[torch.Tensor, TensorSpec]:
        """A new tensor on a storage of its own, and its record."""
        tape, template = self.tape, form.template
        assert template is not None
        spec = TensorSpec(form.shape, form.dtype, form.strides, len(tape.stored), form.role, "", form)
        tape.stored.append(spec)
        tape.born.append(len(tape.noted))
        tensor = template.data
        self._watch(tensor, spec)
        return tensor, spec

    def passing(self, form: Form) -> TensorSpec:
        """A tensor that an op allocates and nobody receives: freed as soon as the op has run."""
        spec, tape = TensorSpec(form.shape, form.dtype, form.strides), self.tape
        if 0 not in form.shape:
            tape.store(spec, len(tape.noted))
            tape.freed[spec.storage] = len(tape.noted)
        return spec

    def unreceived(self, forms: tuple[Form, ...], allocated: bool) -> list[TensorSpec]:
        """Outputs of an op that nobody receives."""
        return [self.passing(f) if allocated else TensorSpec(f.shape, f.dtype, f.strides) for f in forms]

    def adopt(self, result: Any, base: TensorSpec | None = None) -> tuple[TensorSpec, ...]:
        """Takes what a kernel of torch's returned into the records: on the storage of ``base``, or on a new one."""

        def take(tensor: torch.Tensor) -> TensorSpec:
            known = self.specs.get(id(tensor))
            if known is not None and known.shape == tensor.shape:  # not, where the kernel resized what it was given
                return known
            if base is not None:
                return self.shares(tensor, base)
            spec = self._seen(tensor, "activation" if tensor.is_meta else "constant")
            self.tape.store(spec, len(self.tape.noted))
            self._watch(tensor, spec)
            return spec

        if self.dead:
            self.bury()
        return tuple(tensors_in(map_tensors(result, take)))

    def shares(self, tensor: torch.Tensor, base: TensorSpec) -> TensorSpec:
        """A new record for a tensor that lies on the storage of another, or is that other under a new shape."""
        spec = self._seen(tensor, base.role, base.name)
        spec.storage = base.storage
        self._users[spec.storage] = self._users.get(spec.storage, 1) + 1
        self._watch(tensor, spec)
        return spec

    def _seen(self, tensor: torch.Tensor, role: Role, name: str = "") -> TensorSpec:
        spec = spec_of(tensor)
        spec.role, spec.name, spec.form = role, name, FORMS[spec.shape, spec.dtype, spec.strides, role]
        return spec

    def _watch(self, tensor: torch.Tensor, spec: TensorSpec) -> None:
        # Weak: the model decides how long a tensor lives, and so when its storage is freed.
        death = _Death(tensor, self._report)
        key = death.key = id(tensor)
        death.spec = self.specs[key] = spec
        self._deaths.append(death)
