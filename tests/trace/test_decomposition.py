"""What is taken apart by the library computes what torch computes."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel.trace.decomposition import decompose

aten = torch.ops.aten


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("padding", "dilation"), [("same", [1, 1]), ("same", [2, 1]), ("same", [3]), ("valid", [1, 1]), ("valid", [2])]
)
@pytest.mark.parametrize("kernel", list(product((2, 3), (2, 3, 4))))
def test_complex_convolutions_with_the_name_of_a_padding(
    kernel: tuple[int, ...], padding: str, dilation: list[int], batched: bool
) -> None:
    """Even and odd kernels, dilated and not: the padding lies where torch has it."""
    x = torch.randn(*((2,) if batched else ()), 4, 9, 8, dtype=torch.complex64)
    w, b = torch.randn(6, 2, *kernel, dtype=torch.complex64), torch.randn(6, dtype=torch.complex64)
    ours = decompose(aten.conv2d.padding, (x, w, b, [1, 1], padding, dilation, 2), {})
    torch.testing.assert_close(ours, F.conv2d(x, w, b, 1, padding, dilation, 2))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_complex_convolutions_without_a_batch_dimension(axes: int) -> None:
    """Transposed or not, strided and padded, with arguments by position or by name."""
    x = torch.randn(4, *(7, 6, 5)[:axes], dtype=torch.complex64)
    w = torch.randn(4, 4, *[3] * axes, dtype=torch.complex64)
    plain = getattr(aten, f"conv{axes}d").default
    ours = decompose(plain, (x, w), {"stride": [2] * axes, "padding": [1] * axes})
    torch.testing.assert_close(ours, getattr(F, f"conv{axes}d")(x, w, stride=2, padding=1))
    transposed = getattr(aten, f"conv_transpose{axes}d")
    transposed = transposed.default if axes == 1 else transposed.input
    ours = decompose(transposed, (x, w, None, [2] * axes), {})
    torch.testing.assert_close(ours, getattr(F, f"conv_transpose{axes}d")(x, w, stride=2))


@pytest.mark.parametrize("given", [{"padding": "same", "stride": [2, 2]}, {"padding": "other"}])
def test_what_torch_refuses_is_refused(given: dict[str, Any]) -> None:
    """A stride with "same", an unknown name: the message is torch's."""
    x, w = torch.randn(1, 4, 9, 8, dtype=torch.complex64), torch.randn(4, 4, 2, 2, dtype=torch.complex64)
    with pytest.raises(RuntimeError, match=r"strided convolutions|Invalid padding string"):
        decompose(aten.conv2d.padding, (x, w), given)
