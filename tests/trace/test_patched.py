"""Calls of Python functions are noted by the name under which they are called, in one thread."""

from __future__ import annotations

from threading import Thread
from typing import Any

import torch
from torch.nn import functional as F

from costmodel.trace.patched import patched


def test_other_threads_are_not_noted() -> None:
    """A call in another thread goes to the function itself."""
    found: list[str] = []

    def note(name: str, function: Any, args: Any, kwargs: Any) -> Any:
        found.append(name)
        return function(*args, **kwargs)

    with patched(["torch.nn.functional.relu", "torch.Tensor.add"], note):
        other = Thread(target=lambda: F.relu(torch.ones(1)))
        other.start()
        other.join()
        assert found == []
        torch.ones(1).add(F.relu(torch.ones(1)))
    assert found == ["torch.nn.functional.relu", "torch.Tensor.add"]
