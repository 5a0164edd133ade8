"""The memory of a training step, to the byte: the peak that the CPU's allocator sees, and what autograd keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import costmodel
from tests.training.measured_step import measured_step, storage_bytes, total
from tests.training.networks import NETWORKS, Network, images

pytestmark = pytest.mark.usefixtures("one_thread")


def step(network: Network, optimizer: Any = None) -> costmodel.TrainingStep:
    """What the library says of a step."""
    given = costmodel.call(*network.args, **network.kwargs) if network.kwargs else network.args
    return costmodel.training_step(network.model, given, loss=total, optimizer=optimizer)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_step_takes_what_a_real_one_takes(name: str) -> None:
    """The peak is the allocator's; saved are the storages that autograd's hooks see, parameters and buffers apart."""
    network = NETWORKS[name]()
    network.model.train()
    told = step(network)
    assert told.saved_bytes == measured_saved(network)
    assert told.peak_memory == measured_step(network.model, network.args, network.kwargs)


def measured_saved(network: Network) -> int:
    """The bytes of the distinct storages that autograd keeps in a real forward."""
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.model(*network.args, **network.kwargs)
    own = {t.untyped_storage().data_ptr() for t in (*network.model.parameters(), *network.model.buffers())}
    return storage_bytes(t for t in saved if t.untyped_storage().data_ptr() not in own)


OPTIMIZERS: dict[str, Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]] = {
    f"{name}{how}": partial(kind, **options, **chosen)
    for name, kind, options in (
        ("SGD", torch.optim.SGD, {"lr": 0.1}),
        ("momentum", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        ("Adam", torch.optim.Adam, {}),
        ("AdamW", torch.optim.AdamW, {}),
    )
    for how, chosen in (("", {}), (", foreach", {"foreach": True}), (", for loop", {"foreach": False}))
}
OPTIMIZERS |= {"Adagrad": torch.optim.Adagrad, "RMSprop": torch.optim.RMSprop}
OPTIMIZERS |= {"AdamW, fused": partial(torch.optim.AdamW, fused=True)}
OPTIMIZERS |= {"AMSGrad": partial(torch.optim.Adam, amsgrad=True)}


class Wide(nn.Sequential):
    """Few activations and many parameters, so that the peak is in the update."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(48, 100), nn.LayerNorm(100), nn.GELU(), nn.Linear(100, 200))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("make", [lambda: NETWORKS["resnet18"]().model, Wide], ids=["activations", "parameters"])
def test_an_optimizers_step_takes_what_a_real_one_takes(name: str, make: Callable[[], nn.Module]) -> None:
    """State, temporaries of the update, and the gradients that live through it."""
    network = Network(make().train(), (images(4 if make is Wide else 64),))
    told = step(network, OPTIMIZERS[name])
    assert told.peak_memory == measured_step(network.model, network.args, {}, OPTIMIZERS[name])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_gradients_of_two_passes_take_what_they_really_take(name: str) -> None:
    """In the second pass each gradient lives beside the one that it is added to, and in the first it does not."""
    network, optimizer = NETWORKS[name](), OPTIMIZERS["momentum"]
    network.model.train()
    told = costmodel.training_step(network.model, network.args, loss=total, optimizer=optimizer, steps=2)
    assert told.peak_memory == measured_step(network.model, network.args, {}, optimizer, passes=2)
    assert told.peak_memory > step(network, optimizer).peak_memory


class Checkpointed(nn.Module):
    """Stages of a ResNet, each within a checkpoint."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        whole = NETWORKS["torchvision resnet50"]().model
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu)  # type: ignore[arg-type]
        self.stages = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3])  # type: ignore[list-item]
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        for stage in self.stages:
            x = checkpoint(stage, x, use_reentrant=self.reentrant)
        return x


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_gradients_that_stay_take_what_they_really_take(name: str) -> None:
    """Without ``set_to_none`` they are there throughout, and the backward pass adds to them."""
    network = NETWORKS["resnet18"]()
    network.model.train()
    found = costmodel.training_step(
        network.model, network.args, loss=total, optimizer=OPTIMIZERS[name], set_to_none=False
    )
    assert found.peak_memory == measured_step(network.model, network.args, {}, OPTIMIZERS[name], set_to_none=False)
    assert found.crosscheck().ok
    assert len(found.step_layers) == len(step(network).step_layers)


@pytest.mark.parametrize("set_to_none", [False, True])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_the_very_first_step(name: str, passes: int, set_to_none: bool) -> None:
    """It makes gradients and state: it has a peak of its own, and is no part of the curve."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    network, make = Network(model, (torch.rand(40, 64),)), OPTIMIZERS[name]
    found = costmodel.training_step(
        model, network.args, loss=total, optimizer=make, steps=passes, set_to_none=set_to_none
    )
    assert found.first_peak_memory == measured_step(model, network.args, {}, make, passes, first=True)
    assert set(found.curve["phase"]) == {"forward", "loss", "backward", "update"}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_saves_what_it_really_saves(reentrant: bool) -> None:
    """The peak with recomputation, both ways."""
    network = Network(Checkpointed(reentrant=reentrant).train(), (images(64),))
    assert step(network).peak_memory == measured_step(network.model, network.args, {})


def test_what_is_frozen_keeps_nothing() -> None:
    """A backbone without gradients, and one with the first half frozen."""
    for frozen in (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], ["conv1", "bn1", "layer1", "layer2"]):
        network = NETWORKS["torchvision resnet50"]()
        network.model.train()
        for name in frozen:
            network.model.get_submodule(name).requires_grad_(False)
        told = step(network, OPTIMIZERS["momentum"])
        assert told.saved_bytes == measured_saved(network)
        assert told.peak_memory == measured_step(network.model, network.args, {}, OPTIMIZERS["momentum"])


class Recurrent(nn.Module):
    """Tokens through recurrent layers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24)
        self.lstm = nn.LSTM(24, 16, 2, batch_first=True, bidirectional=True)
        self.gru, self.rnn = nn.GRU(32, 16), nn.RNN(16, 8, nonlinearity="relu")

    def forward(self, tokens: torch.Tensor) -> Any:
        return self.rnn(self.gru(self.lstm(self.embedding(tokens))[0])[0])[0]


def test_recurrent_layers_take_what_they_really_take() -> None:
    """oneDNN's LSTM is one operation, the others come apart into steps."""
    network = Network(Recurrent().train(), (torch.randint(50, (3, 7)),))
    assert step(network).peak_memory == measured_step(network.model, network.args, {})
