"""What a position is told to see, held at every layer to what the real network passes on: one input slab is NaN."""

from __future__ import annotations

import pytest
import torch
from _networks import CHANNELS, networks
from _oracle import check, is_finite
from hypothesis import HealthCheck, assume, given, settings
from torch import nn


@given(drawn=networks())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_position_of_every_drawn_network(drawn: tuple[nn.Module, int]) -> None:
    """First and last input position seen, at every layer and position: no more and no less than NaN reaches."""
    net, length = drawn
    assume(is_finite(net, (1, CHANNELS, length)))
    check(net, (1, CHANNELS, length), at_most=LONG)


LONG = 50
