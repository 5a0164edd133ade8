"""Why a forward failed in a trace: where, in which line of the user's code, on which shapes, and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from traceback import extract_tb

import torch

from costmodel.errors import CostModelError, ForwardError, NeedsValuesError
from costmodel.graph import ModuleCall, TensorSpec, tensors_in
from costmodel.trace.target import Target


class Failure(Exception):  # noqa: N818  # no error of the library's: it is caught, and may become one
    """A forward failed in one attempt to trace it; another attempt may succeed."""

    def __init__(
        self,
        target: Target,
        cause: Exception | SystemExit,
        calls: Sequence[ModuleCall],
        inputs: Iterable[TensorSpec],
        *,
        is_real: bool,
        needed_bytes: int,
        could_have_values: bool,
        part: str = "forward",
    ) -> None:
        super().__init__(_text(cause))
        self.cause = cause
        self.needed_bytes = needed_bytes
        """Of the tensors that were alive at once before it failed."""
        self.could_have_values = could_have_values
        """Whether integer inputs, which were given as shapes, had no values in this attempt."""
        self._target, self._calls, self._is_real = target, calls, is_real
        self._part = part
        """What of a training step ran: ``forward``, ``loss``, ``backward`` or ``update``."""
        self._given = ", ".join(map(str, inputs)) or "no tensors"

    @property
    def wants_gradient(self) -> bool:
        """Whether the forward differentiates, and autograd had recorded nothing."""
        return "does not require grad" in _text(self.cause)

    @property
    def wants_values(self) -> bool:
        """Whether it is due to tensors that have no values, or none on their device, and not to the model."""
        if self._is_real:
            return False
        if isinstance(self.cause, (NeedsValuesError, NotImplementedError)):
            return True
        text = _text(self.cause).lower()
        kinds = (RuntimeError, TypeError, ValueError, KeyError)
        return isinstance(self.cause, kinds) and any(word in text for word in _OF_META)

    def is_confirmed_by(self, real: Failure) -> bool:
        """Whether a real run failed at the same place for the same reason."""
        return not self.wants_values and self._place == real._place

    @property
    def _place(self) -> tuple[str, str]:
        return self._where(), _users_line(self.cause)

    @property
    def reason(self) -> str:
        """In a line."""
        if self.wants_values:
            return f"{self._where()}: {_first_line(self.cause)}"
        return f"{self._where()} without values: {_summary(self.cause)}"

    def error(self, note: str = "") -> CostModelError:
        """What is raised where no attempt succeeded; ``note`` is a sentence to add."""
        if self.wants_values:
            return NeedsValuesError(f"{self.reason}{note and f'. {note}'}")
        taken = ", ".join(map(str, tensors_in((self._calls[-1].args, self._calls[-1].kwargs)))) if self._calls else ""
        line = _users_line(self.cause)
        whole, of_what = _PARTS.get(self._part, _PARTS["forward"])
        return ForwardError(
            f"{whole.format(name=self._target.name)} failed{'' if self._is_outside else f' {self._where()}'}"
            f"{f', which was given {taken}' if taken else ''}{f', at {line}' if line else ''}: {_summary(self.cause)}. "
            f"{of_what} {self._given}; {self._remedy()}{note and f'. {note}'}."
        )

    @property
    def _is_outside(self) -> bool:
        """Whether it was in no layer, and not in the model's forward."""
        return self._part != "forward" and not self._calls

    def _where(self) -> str:
        if self._is_outside:
            return f"in the {_NAMES[self._part]}"
        if not self._calls:
            return f"in {self._target.name}"
        call = self._calls[-1]
        return f"in layer {call.name!r} ({call.type})" if call.name else f"in {call.type}'s own forward"

    def _remedy(self) -> str:
        if self._part == "loss":
            return "a loss takes what the model returns alone: pass loss=lambda output: ..., in which the targets are"
        if self._part != "forward":
            return "try the same step without costmodel"
        text = _summary(self.cause).lower()
        for words, remedy in _REMEDIES:
            if any(word in text for word in words):
                return remedy.format(signature=_signature(self._target))
        return "try model(*inputs) on such tensors, without costmodel"


_PARTS = {
    "forward": ("the forward of {name}", "The model's inputs were"),
    "loss": ("the loss", "The model had returned"),
    "backward": ("the backward pass of {name}", "The model's inputs were"),
    "update": ("the optimizer's update", "The model's inputs were"),
}
_NAMES = {"loss": "loss", "backward": "backward pass", "update": "optimizer's update"}

_OF_META = (
    "meta", "numpy()", "unallocated storage", "incompatible tensor type", "tensor.__format__", "no fake impl",
    "data pointer",
)  # fmt: skip
"""What torch says where it needs the values of a tensor that has none: in ``tolist()``, in assigning one to a real
tensor's ``data``, in ``f"{tensor:.3f}"``, of an op of the user's without a fake implementation, of ``data_ptr()``."""

_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("missing the required \"forward\"",), "it is a container without a forward: pass the model that calls it"),
    (("missing", "unexpected keyword", "positional argument", "takes no arguments"),
     "it takes {signature}: give several inputs as a tuple, keyword inputs as a dict, both as costmodel.call(...)"),
    (("out of memory", "can't allocate", "cannot allocate", "not enough memory"),
     "pass a smaller batch or size: a real run needs memory for its tensors"),
    (("scalar type", "dtype", "for argument #1 'indices'", "expected tensor for argument"),
     "give inputs the dtype that the model takes, as costmodel.Input(shape, torch.int64) for token ids"),
    (("does not require grad",),
     "it differentiates a tensor that requires no gradient, or that was computed under torch.no_grad()"),
    (("higherorderoperator",), "torch's operators that take functions cannot be traced"),
    (("same device", "device"), "move the model and the tensors that it makes to one device"),
    (("index out of range in self",),
     "give fewer positions, or integers as tensors of values that the model takes: those given as shapes are zeros"),
    (("features", "out of bounds", "shape", "size", "dimension", "channels", "broadcast", "must match", "elements",
      "kernel", "1d", "2d", "3d", "4d", "5d", "unpack"),
     "pass inputs of the shapes that it takes"),
)  # fmt: skip
"""What to do, by words in the type and the message of an exception; the first that fits."""


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first_line(error)}".rstrip(".")


def _first_line(error: BaseException) -> str:
    lines = _text(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a class of the user's
        return ""


def _signature(target: Target) -> str:
    try:
        return f"{target.forward.__name__}{inspect.signature(target.forward)}"
    except (TypeError, ValueError, AttributeError):
        return "other arguments"


def _users_line(error: BaseException) -> str:
    """The file and line in which the exception arose: the innermost that is neither torch's nor ours nor Python's."""
    import sysconfig

    libraries = str(Path(torch.__file__).parent), str(Path(__file__).resolve().parents[1])
    standard_library = sysconfig.get_path("stdlib")
    for frame in reversed(extract_tb(error.__traceback__)):
        file = frame.filename
        is_pythons = file.startswith(("<", standard_library)) and "site-packages" not in file
        if not is_pythons and not str(Path(file).resolve()).startswith(libraries):
            return f"{file}:{frame.lineno}"
    return ""
