"""What tensors can have in common, once each: an op on tensors of the same forms returns the same forms again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from costmodel.graph import Role, TensorSpec
from costmodel.trace.specs import empty_meta


@dataclass(slots=True, eq=False)
class Form:
    """A shape, dtype, strides and role: compared by identity, for there is one of each (``FORMS``)."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None
    role: Role
    template: torch.Tensor | None = field(default=None, repr=False)
    """A tensor without memory: another one over the same no memory takes a fraction of the time of a new one."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # another process has forms of its own


class _Forms(dict[tuple[tuple[int, ...], str, tuple[int, ...] | None, Role], Form]):
    """The one form of all tensors of a shape (a ``torch.Size`` is one like any other), dtype, strides and role."""

    most = 1 << 14

    def __missing__(self, key: tuple[tuple[int, ...], str, tuple[int, ...] | None, Role]) -> Form:
        if len(self) >= self.most:
            self.clear()
        shape, dtype, strides, role = key
        form = self[key] = Form(tuple(shape), dtype, strides, role)
        return form


FORMS = _Forms()


def as_form(spec: TensorSpec) -> Form:
    """The form of a tensor that is to be made, with a template of it."""
    form = FORMS[spec.shape, spec.dtype, spec.strides, spec.role]
    if form.template is None:
        with torch.inference_mode(False):
            form.template = empty_meta(spec)
    return form


def new_on_meta(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A contiguous tensor without memory."""
    template = as_form(TensorSpec(shape, dtype)).template
    assert template is not None
    return template.data
