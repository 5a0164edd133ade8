"""What is written in place is seen through every view of it, those from before the write included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from costmodel import profile
from tests.receptive_field._oracle import check


class Written(nn.Module):
    """A part of a map is overwritten with what sees more; a view from before is read before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.wide = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 5, padding=2)
        self.before, self.after, self.whole = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        left = y[..., :5]
        self.before(left + 0)
        y[..., 3:7] = self.wide(y)[..., 3:7]
        self.after(left + 0)
        result: Tensor = self.whole(y + 0)
        return result


def test_an_older_view_sees_what_was_written() -> None:
    """Where it was written, the wider window; elsewhere the convolution's, as the poison finds."""
    net = Written()
    with torch.no_grad():
        assert check(net, (1, 1, 10), at_most=10) > 20


class Scaled(nn.Module):
    """Some channels of a strided map are scaled in place."""

    def __init__(self, part: slice) -> None:
        super().__init__()
        self.conv, self.out, self.part = nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.Conv2d(4, 4, 3), part

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y[:, self.part].mul_(2.0)
        result: Tensor = self.out(y)
        return result


@pytest.mark.parametrize("part", [slice(None), slice(0, 1), slice(1, 3), slice(0, 4, 2)])
def test_a_write_to_some_channels_keeps_the_field(part: slice) -> None:
    """Size 3 + 2 * 2 and stride 2, as without it."""
    field = profile(Scaled(part), (1, 3, 31, 31)).receptive_field("out")
    assert (field.size, field.stride) == ((7, 7), (2, 2))
