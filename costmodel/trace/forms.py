"""What tensors can have in common, once each: an op on tensors of the same forms returns the same forms again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from costmodel.graph import Role, TensorSpec
from costmodel.trace.specs import empty_meta


@dataclass(slots=True, eq=False)
class Form:
    """A shape, dtype, strides and role: compared by identity, for there is one of each (``form_of``)."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None
    role: Role
    template: torch.Tensor | None = field(default=None, repr=False)
    """A tensor without memory: another one over the same no memory takes a fraction of the time of a new one."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # another process has forms of its own


_MOST = 1 << 14
_forms: dict[tuple[object, ...], Form] = {}


def form_of(shape: tuple[int, ...], dtype: str, strides: tuple[int, ...] | None, role: Role) -> Form:
    """The one form of all such tensors; a ``torch.Size`` is a shape like any other."""
    key = shape, dtype, strides, role
    form = _forms.get(key)
    if form is None:
        if len(_forms) >= _MOST:
            _forms.clear()
        form = _forms[key] = Form(tuple(shape), dtype, strides, role)
    return form


def as_form(spec: TensorSpec) -> Form:
    """The form of a tensor that is to be made, with a template of it."""
    form = form_of(spec.shape, spec.dtype, spec.strides, spec.role)
    if form.template is None:
        with torch.inference_mode(False):
            form.template = empty_meta(spec)
    return form


def new_on_meta(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A contiguous tensor without memory."""
    template = as_form(TensorSpec(shape, dtype)).template
    assert template is not None
    return template.data
