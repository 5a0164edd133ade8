"""Models that are trained as if they were quantised: observers and fake quantisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization as ao

import costmodel


class Network(nn.Module):
    """A convolution of 3 x 8 x 8 into 4 x 6 x 6, a norm, a ReLU, a mean and a linear layer of 4 into 5."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.conv, self.norm, self.relu, self.linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm(self.conv(self.quant(x))))
        return self.dequant(self.linear(y.mean((2, 3))))


def prepared(fused: bool) -> nn.Module:
    """The network, ready to be trained."""
    model = Network().train()
    if fused:
        ao.fuse_modules_qat(model, [["conv", "norm", "relu"]], inplace=True)
    model.qconfig = ao.get_default_qat_qconfig("fbgemm")
    ao.prepare_qat(model, inplace=True)
    return model


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*_aminmax is deprecated:UserWarning"),
]
MACS = 4 * 27 * 36 + 4 * 5


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("fused", [False, True])
def test_macs_are_those_of_the_model_that_is_trained(fused: bool, mode: Any) -> None:
    """What observes and rounds is no product, and no operation is unknown."""
    p = costmodel.profile(prepared(fused), (1, 3, 8, 8), mode=mode)
    assert (p.macs, p.is_exact) == (MACS, True)
    assert p.crosscheck().ok


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_switches_of_observers(execution: Any) -> None:
    """What is switched off does not run, and is not counted: 24 elements of one range."""

    def flops(*switches: Callable[[nn.Module], None]) -> int:
        layer = ao.FusedMovingAvgObsFakeQuantize(ao.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
        for switch in switches:
            layer.apply(switch)
        p = costmodel.profile(layer, (2, 3, 4), execution=execution)
        assert p.is_exact
        return p.flops

    observed, quantised = 46 + 4 + 2, 4 + 6 * 24
    assert flops() == observed + quantised
    assert flops(ao.disable_observer) == quantised
    assert flops(ao.disable_fake_quant) == observed
    assert flops(ao.disable_observer, ao.disable_fake_quant) == 0


OBSERVERS = (
    ao.MinMaxObserver, ao.MovingAverageMinMaxObserver, ao.PerChannelMinMaxObserver,
    ao.MovingAveragePerChannelMinMaxObserver, ao.HistogramObserver, ao.RecordingObserver, ao.PlaceholderObserver,
    ao.NoopObserver, ao.default_fake_quant, ao.default_weight_fake_quant, ao.default_per_channel_weight_fake_quant,
    ao.default_histogram_fake_quant, ao.default_fused_act_fake_quant, ao.default_fused_wt_fake_quant,
    ao.default_fused_per_channel_wt_fake_quant,
)  # fmt: skip


@pytest.mark.parametrize("make", OBSERVERS)
def test_observers_are_known(make: Any) -> None:
    """Each of torch's observers and fake quantisers, and none has a product; the model is as it was."""
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items() if isinstance(value, torch.Tensor)}
    p = costmodel.profile(layer, (2, 3, 4, 4))
    assert (p.macs, p.is_exact) == (0, True)
    after = layer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_least_and_greatest() -> None:
    """Of 96 elements, each with what was seen before."""
    assert costmodel.profile(ao.MinMaxObserver(), (2, 3, 4, 4)).flops == 2 * 95 + 2
