"""``training_step``: figures that were worked out by hand or by torch itself, and a model that is left as it was."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from costmodel.errors import InputError
from costmodel.training.memory import CATEGORIES

pytestmark = pytest.mark.usefixtures("garbage_collected")


def depthwise(*, input_needs_gradient: bool) -> nn.Module:
    """A depthwise convolution of 512 channels, behind an identity with a parameter where its input is to be learnt."""
    conv = nn.Conv2d(512, 512, 3, padding=1, groups=512, bias=False)
    return nn.Sequential(nn.BatchNorm2d(512), conv) if input_needs_gradient else conv


@pytest.mark.parametrize(("input_needs_gradient", "backward"), [(True, 1_806_336), (False, 903_168)])
def test_a_depthwise_convolution(input_needs_gradient: bool, backward: int) -> None:
    """512 x 9 x 14 x 14 MACs forward, and as many for each gradient that is asked for: not 512 times as many."""
    step = costmodel.training_step(depthwise(input_needs_gradient=input_needs_gradient), (1, 512, 14, 14))
    assert step.forward.macs == 903_168
    assert step.backward.macs == backward


def test_what_autograd_keeps_of_resnet18() -> None:
    """As many bytes as ``saved_tensors_hooks`` sees in a real run at batch 2, the input's among them."""
    step = costmodel.training_step("resnet18", (2, 3, 224, 224), optimizer="sgd")
    assert step.saved_bytes == 44_398_080
    assert step.saved_input_bytes == 2 * 3 * 224 * 224 * 4


def kept(model: nn.Module, x: Tensor) -> int:
    """Bytes of the distinct storages that a real forward's hooks see, parameters and buffers apart."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    seen: dict[int, Any] = {}

    def pack(t: Tensor) -> Tensor:
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = model(x)
    del output
    return sum(storage.nbytes() for at, storage in seen.items() if at not in own)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (costmodel.models.alexnet, (2, 3, 224, 224)),
    "resnet18": (costmodel.models.resnet18, (2, 3, 64, 64)),
    "mobilenet_v2": (costmodel.models.mobilenet_v2, (2, 3, 64, 64)),
    "shufflenet_v2": (costmodel.models.shufflenet_v2, (2, 3, 64, 64)),
    "efficientnet_b0": (costmodel.models.efficientnet_b0, (2, 3, 64, 64)),
    "transformer": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (2, 10, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_bytes_are_a_real_runs(name: str) -> None:
    """What the trace says that autograd keeps is what a real forward keeps, to the byte."""
    make, shape = NETWORKS[name]
    model = make().train()
    assert costmodel.training_step(model, shape, optimizer=None).saved_bytes == kept(model, torch.randn(shape))


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "transformer"])
def test_macs_are_torchs_own(name: str) -> None:
    """Without grouped convolutions, FlopCounterMode counts as many over a real forward and backward."""
    make, shape = NETWORKS[name]
    model = make().train()
    step = costmodel.training_step(model, shape, optimizer=None)
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model(torch.randn(shape)).sum().backward()
    assert 2 * step.macs == counter.get_total_flops()


def test_phases_and_layers_add_up() -> None:
    """The step is the sum of its phases, the passes are the sums of their layers and what the engine adds up."""
    step = costmodel.training_step("resnet18", (2, 3, 64, 64))
    phases = (step.forward, step.loss, step.backward, step.update)
    for total in ("macs", "flops", "memory_access", "memory_access_bytes"):
        assert getattr(step, total) == sum(getattr(phase, total) for phase in phases)
    assert step.layers["forward_macs"].sum() == step.forward.macs
    assert step.layers["backward_macs"].sum() == step.backward.macs
    assert step.layers["forward_flops"].sum() == step.forward.flops
    assert step.crosscheck().ok
    assert step.crosscheck().checked > 50


def test_the_forward_alone_is_checked_as_it_runs_in_a_step() -> None:
    """Its max pools make indices, and its activations copies, also where it is looked at as a profile."""
    for name in ("resnet18", "mobilenet_v2"):
        forward = costmodel.training_step(name, (2, 3, 64, 64)).forward
        assert forward.crosscheck().ok
        assert pickle.loads(pickle.dumps(forward)).crosscheck().ok


def test_frozen_layers_have_no_gradient() -> None:
    """Before the first layer that is learnt, nothing is computed backward and nothing is kept for it."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].requires_grad_(False)
    step = costmodel.training_step(model, (3, 8), optimizer="adam")
    backward = dict(zip(step.layers["name"], step.layers["backward_macs"], strict=True))
    assert backward["0"] == 0
    assert backward["2"] == 3 * 8 * 4  # of its weight alone
    assert step.trainable_params == 36
    assert dict(zip(step.memory["category"], step.memory["bytes"], strict=True))["gradients"] <= 4 * 36
    assert step.crosscheck().ok


class Fixed(nn.Module):
    """A part that is run without autograd, though its parameters are not frozen, and one that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """A backbone's features, and what is made of them."""
        with torch.no_grad():
            features = self.backbone(x)
        return self.head(features)  # type: ignore[no-any-return]


def test_a_part_that_runs_without_autograd_has_no_gradient() -> None:
    """Nothing is kept for it and nothing computed, traced and by its closed form."""
    step = costmodel.training_step(Fixed(), (3, 8))
    assert step.backward.macs == 3 * 8 * 4
    assert step.crosscheck().ok


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [("sgd", 0), ("momentum", 1), ("adagrad", 1), ("rmsprop", 1), ("adam", 2), ("adamw", 2), (None, 0)],
)
def test_the_state_of_each_optimizer(optimizer: str | None, copies: int) -> None:
    """So many copies of the parameters, and no more than a counter of four bytes for each."""
    model = nn.Linear(100, 50)
    step = costmodel.training_step(model, (3, 100), optimizer=optimizer)
    state = int(step.memory.set_index("category")["bytes"]["optimizer state"])
    assert 4 * copies * 5050 <= state <= 4 * copies * 5050 + 8
    assert (step.update.flops > 0) == (optimizer is not None)


def test_an_optimizer_of_ones_own() -> None:
    """A class, or a partial of one, is what the update runs."""
    step = costmodel.training_step(nn.Linear(4, 2), (3, 4), optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.5))
    assert step.optimizer == "SGD(lr=0.1, momentum=0.5)"
    assert costmodel.training_step(nn.Linear(4, 2), (3, 4), optimizer=torch.optim.RMSprop).optimizer == "RMSprop"


def test_the_peak_is_the_greatest_total_of_its_parts() -> None:
    """Each row of the curve is the sum of its categories; the peak is the greatest, and what is live there adds up."""
    step = costmodel.training_step("alexnet", (2, 3, 64, 64), optimizer="momentum")
    assert (step.curve[list(CATEGORIES)].sum(axis=1) == step.curve["total"]).all()
    assert step.peak_memory == step.curve["total"].max() == step.memory["bytes"].sum()
    assert sum(x.nbytes for x in step.live) == step.peak_memory
    assert [x.nbytes for x in step.live] == sorted((x.nbytes for x in step.live), reverse=True)
    assert step.first_peak_memory < step.peak_memory


def test_gradients_are_accumulated() -> None:
    """Two passes before an update: twice the work of each, one update."""
    once, twice = (costmodel.training_step(nn.Linear(8, 4), (3, 8), optimizer="sgd", steps=n) for n in (1, 2))
    assert (twice.forward.macs, twice.backward.macs) == (2 * once.forward.macs, 2 * once.backward.macs)
    assert twice.update.flops == once.update.flops
    assert twice.flops_per_sample is not None
    assert once.flops_per_sample is not None
    assert twice.flops_per_sample < once.flops_per_sample + once.backward.flops


def test_the_model_is_left_as_it_was() -> None:
    """No gradient, the same mode, the same parameters and buffers, with their values."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).eval()
    before = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    costmodel.training_step(model, (2, 3, 8, 8), optimizer="adamw")
    assert not model.training
    after = model.state_dict(keep_vars=True)
    assert all(id(after[name]) == at and torch.equal(after[name], value) for name, (at, value) in before.items())
    assert all(p.grad is None for p in model.parameters())


def test_the_largest_batch_of_a_model_that_takes_no_single_sample() -> None:
    """Batch norm of vectors raises for one sample: the search begins with two, and 0 says that these do not fit."""
    step = costmodel.training_step(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), (4, 8), optimizer="sgd")
    assert step.largest_batch(step.with_batch(7).peak_memory) == 7
    assert step.largest_batch(step.with_batch(2).peak_memory - 1) == 0


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    """By traces at both; 0 where not even one sample fits; a device's memory and a text are sizes, too."""
    step = costmodel.training_step("alexnet", (4, 3, 64, 64), optimizer="momentum")
    most = step.largest_batch(2 * 10**9)
    assert step.with_batch(most).peak_memory <= 2 * 10**9 < step.with_batch(most + 1).peak_memory
    assert step.largest_batch("2GB") == most
    assert step.with_batch(most).fits("2GB")
    assert not step.with_batch(most + 1).fits("2GB")
    assert step.largest_batch(1000) == 0
    assert step.largest_batch("rtx4090") > most


class ByBatch(nn.Module):
    """Takes another path for other batches."""

    def __init__(self, path: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.path = nn.Linear(16, 16), path

    def forward(self, x: Tensor) -> Tensor:
        """Rows of 16."""
        return self.path(self.linear, x).sum()


def padded(linear: nn.Module, x: Tensor) -> Tensor:
    """To a multiple of eight rows."""
    found: Tensor = linear(nn.functional.pad(x, (0, 0, 0, -len(x) % 8))).relu()
    return found


def each_with_each(linear: nn.Module, x: Tensor) -> Tensor:
    """The square of the batch."""
    y: Tensor = linear(x)
    return (y @ y.t()).softmax(-1)


def in_parts(linear: nn.Module, x: Tensor) -> Tensor:
    """Eight rows at a time."""
    return torch.stack([linear(part).relu().sum() for part in x.split(8)])


def longer(linear: nn.Module, x: Tensor) -> Tensor:
    """From 20 rows on, three times over."""
    for _ in range(3 if len(x) >= 20 else 1):
        x = linear(x).relu()
    return x


def shorter(linear: nn.Module, x: Tensor) -> Tensor:
    """From 20 rows on, once and not three times."""
    for _ in range(1 if len(x) >= 20 else 3):
        x = linear(x).relu()
    return x


@pytest.mark.parametrize("path", [padded, each_with_each, in_parts, longer, shorter])
def test_the_largest_batch_of_all(path: Callable[[nn.Module, Tensor], Tensor]) -> None:
    """That which a trace of every batch finds, also where the peak jumps; where it falls, one that the next is not."""
    step = costmodel.training_step(ByBatch(path), (4, 16), optimizer="sgd")
    peaks = [step.with_batch(batch).peak_memory for batch in range(1, 42)]
    assert any(following < peak for peak, following in pairwise(peaks)) == (path is shorter)
    for size in (peaks[0], *(peak + more for peak in peaks[6:40:8] for more in (-1, 0, 1)), peaks[39]):
        most = step.largest_batch(size)
        assert peaks[most - 1] <= size < peaks[most]
        if path is not shorter:
            assert most == max(batch for batch, peak in enumerate(peaks, 1) if peak <= size)


def test_utilisation_is_a_share_of_what_a_device_could_do() -> None:
    """Two FLOPs a MAC over the time and the H100's 66.9 TFLOP/s of float32."""
    step = costmodel.training_step("alexnet", (4, 3, 224, 224))
    assert step.mfu(0.01, "h100") == pytest.approx(2 * step.macs / (0.01 * 66.9e12))
    assert step.hfu(0.01, "h100") == step.mfu(0.01, "h100")


def test_six_nd_leads_to_the_steps_flops() -> None:
    """The estimate and the named differences add up to what the step computes, without a remainder."""

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Embedding(50, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.head = nn.Linear(16, 50)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.layer(self.embed(ids)))

    step = costmodel.training_step(Language(), costmodel.Input((2, 7), "int64"))
    estimate = step.six_nd
    assert estimate is not None
    assert estimate.flops == 6 * step.params * 14
    assert estimate.flops + sum(estimate.differences.values()) == step.flops
    assert step.flops_per_token == step.flops / 14
    assert costmodel.training_step(nn.Linear(2, 2), (1, 2)).six_nd is None


class RunsAgain(nn.Module):
    """Two layers whose forward runs again in the backward pass."""

    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = checkpoint(self.inside, x, use_reentrant=self.use_reentrant)
        return made


@pytest.mark.parametrize(("use_reentrant", "again"), [(True, 2 * 8 * 64 * 256), (False, 8 * 64 * 256)])
def test_a_checkpoint_computes_again(use_reentrant: bool, again: int) -> None:
    """Both products the old way; the new one stops where nothing more is kept. MFU leaves it out; the wings agree."""
    step = costmodel.training_step(nn.Sequential(nn.Linear(64, 64), RunsAgain(use_reentrant=use_reentrant)), (8, 64))
    plain = costmodel.training_step(nn.Sequential(nn.Linear(64, 64), RunsAgain(use_reentrant=False).inside), (8, 64))
    assert step.recomputed_macs == again
    assert step.macs == plain.macs + again
    assert step.saved_bytes < plain.saved_bytes
    assert step.mfu(1e-3, "h100") == plain.mfu(1e-3, "h100") < step.hfu(1e-3, "h100")
    assert step.crosscheck().ok
    assert (step.crosscheck().rows["quantity"] == "backward macs").sum() == 4


def test_autocast_halves_what_is_kept() -> None:
    """In bfloat16 products keep half the bytes, and casts of their weights; the wings agree in what is computed."""
    plain = costmodel.training_step("resnet18", (64, 3, 64, 64))
    cast = costmodel.training_step("resnet18", (64, 3, 64, 64), autocast="bfloat16")
    assert cast.autocast == "bfloat16"
    assert cast.macs == plain.macs
    assert cast.saved_bytes < plain.saved_bytes
    assert cast.crosscheck().ok


def test_a_step_pickles() -> None:
    """Without what could trace it again."""
    step = costmodel.training_step(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (2, 4))
    again = pickle.loads(pickle.dumps(step))
    assert again.layers.equals(step.layers)
    with pytest.raises(InputError, match="read from a file"):
        again.largest_batch("1GB")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optimizer": "adamx"}, "did you mean 'adam'"),
        ({"autocast": "int8"}, "bfloat16 or float16"),
        ({"steps": 0}, "an int from 1"),
        ({"loss": lambda y: y}, "a loss has one element"),
        ({"loss": lambda y: y.detach().sum()}, "no gradient leads"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], says: str) -> None:
    """What cannot be a step is an InputError that says what would be."""
    with pytest.raises(InputError, match=says):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), **options)


def test_saved_bytes_are_the_forwards() -> None:
    """What a loss keeps, and what a second pass keeps anew, is not what the forward keeps."""
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
    alone = costmodel.training_step(model, (2, 8)).saved_bytes
    assert alone == 2 * 8 * 4 + 2 * 4 * 4  # the input and tanh's output
    assert costmodel.training_step(model, (2, 8), loss=lambda y: y.exp().sum()).saved_bytes == alone
    assert costmodel.training_step(model, (2, 8), steps=3).saved_bytes == alone


class Checkpointed(nn.Module):
    """Two layers, computed again in the backward pass."""

    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.inner = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Any:
        """The second and third are of the checkpoint."""
        return checkpoint(self.inner, self.first(x), use_reentrant=self.use_reentrant)


@pytest.mark.parametrize(("use_reentrant", "again"), [(False, 2 * 8 * 16), (True, 2 * (8 * 16 + 16 * 4))])
def test_checkpoints(*, use_reentrant: bool, again: int) -> None:
    """What is computed again is said apart: all of it, or up to the last tensor that the backward pass needs."""
    step = costmodel.training_step(Checkpointed(use_reentrant=use_reentrant), (2, 8))
    assert step.recomputed_macs == again
    once = 2 * (8 * 8 + 8 * 16 + 16 * 4)
    assert step.backward.macs - again == 2 * once - 2 * 8 * 8
    assert step.saved_bytes == 2 * 8 * 4 * 2  # the model's input and the checkpoint's
    assert step.crosscheck().ok


def test_layers_under_autocast_are_derived_twice() -> None:
    """All but what is kept of them, which autocast has cast."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    found = costmodel.training_step(model, (2, 8), autocast="bfloat16").crosscheck()
    assert found.ok
    assert found.checked == 3
