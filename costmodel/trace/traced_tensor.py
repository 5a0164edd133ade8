"""The meta tensors that a model is given in a trace: they say that they are on its own device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident
from typing import Any, TypeVar

import torch

from costmodel.errors import NeedsValuesError
from costmodel.torch_private import no_torch_function

_Value = TypeVar("_Value")

_MODEL_DEVICE: dict[int, torch.device] = {}
"""By thread, the device of the model that it traces now."""

is_on_meta: Callable[[torch.Tensor], bool] = vars(torch.Tensor.__base__)["is_meta"].__get__
"""Whether a tensor has no memory, whatever it says itself."""

_VALUES: dict[int, Callable[[torch.Tensor], torch.Tensor | None]] = {}
"""By thread, what gives the values of a constant that has not been computed yet."""

_NOTE: dict[int, Callable[[NeedsValuesError], None]] = {}
"""By thread, what is called before an error is raised that the forward may catch."""


def reads_noted(note: Callable[[NeedsValuesError], None]) -> AbstractContextManager[None]:
    """In this thread, ``note`` is called where a forward asks for values without an op."""
    return _for_this_thread(_NOTE, note)


def values_from(find: Callable[[torch.Tensor], torch.Tensor | None]) -> AbstractContextManager[None]:
    """In this thread, ``find`` gives the values of a ``TracedTensor`` that has some."""
    return _for_this_thread(_VALUES, find)


def tensors_on(device: torch.device) -> AbstractContextManager[None]:
    """In this thread, every ``TracedTensor`` says that it is on ``device``."""
    return _for_this_thread(_MODEL_DEVICE, device)


@contextmanager
def _for_this_thread(values: dict[int, _Value], value: _Value) -> Iterator[None]:
    thread = get_ident()
    before = values.get(thread)
    values[thread] = value
    try:
        yield
    finally:
        if before is None:
            del values[thread]
        else:
            values[thread] = before


class TracedTensor(torch.Tensor):
    """A tensor on the meta device that says to Python code that it is on the model's.

    A forward that asks (``x.is_cuda``, ``torch.autocast(x.device.type)``) takes the branch that it takes in real runs.
    Kernels in C++ see a meta tensor; they get no pointer to its memory, as it has none.
    """

    __torch_function__: Any = no_torch_function

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # torch's stub has an attribute
        """The model's."""
        return _MODEL_DEVICE.get(get_ident(), _META)

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]  # likewise
        """Whether that is a CPU."""
        return self.device.type == "cpu"

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]  # likewise
        """Whether that is a GPU of CUDA's or ROCm's."""
        return self.device.type == "cuda"

    @property
    def is_xpu(self) -> bool:  # type: ignore[override]  # likewise
        """Whether that is a GPU of Intel's."""
        return self.device.type == "xpu"

    @property
    def is_mps(self) -> bool:  # type: ignore[override]  # likewise
        """Whether that is a GPU of Apple's."""
        return self.device.type == "mps"

    @property
    def is_meta(self) -> bool:  # type: ignore[override]  # likewise
        """Whether the model itself is on meta."""
        return self.device.type == "meta"

    def get_device(self) -> int:
        """The device's index, -1 for the CPU."""
        return -1 if self.is_cpu else self.device.index or 0

    def type(self, *args: Any, **kwargs: Any) -> Any:
        """As ``torch.Tensor.type``: a name such as ``torch.cuda.HalfTensor``, or a tensor of another dtype."""
        name = super().type(*args, **kwargs)
        if not isinstance(name, str):
            return name
        place = "" if self.is_cpu else f"{self.device.type}."
        return name.replace(".meta.", f".{place}")

    def _computed(self, what: str) -> torch.Tensor:
        find = _VALUES.get(get_ident())
        values = None if find is None else find(self)
        if values is not None:
            return values
        error = NeedsValuesError(f"{what} reads the values of a tensor that has none")
        note = _NOTE.get(get_ident())
        if note is not None:
            note(error)
        raise error

    def numpy(self, *, force: bool = False) -> Any:
        """As ``torch.Tensor.numpy``, of a constant; other tensors have no values."""
        return self._computed("numpy()").numpy(force=force)

    def tolist(self) -> Any:
        """Likewise."""
        return self._computed("tolist()").tolist()

    def data_ptr(self) -> int:
        """Likewise."""
        return self._computed("data_ptr()").data_ptr()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self._computed("NumPy").__array__(*args, **kwargs)

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        return self._computed("DLPack").__dlpack__(*args, **kwargs)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch has left it out
        """Without values, as torch prints a meta tensor, for a forward that logs."""
        return f"tensor(..., device='{self.device}', size={tuple(self.shape)}, dtype={self.dtype})"


_META = torch.device("meta")


def as_traced(tensor: torch.Tensor) -> torch.Tensor:
    """The same object, as a ``TracedTensor`` where it is a plain tensor on meta."""
    if type(tensor) is torch.Tensor and is_on_meta(tensor):
        tensor.__class__ = TracedTensor
    return tensor
