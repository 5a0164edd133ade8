"""Steps as people run them: adapters, frozen and tied weights, losses of several kinds, GANs, autocast, hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import costmodel
from costmodel.profiling import Profile
from costmodel.training import TrainingStep


@contextmanager
def untouched(*modules: nn.Module) -> Iterator[None]:
    """Asserts that modules keep their parameters and buffers, values, gradients and flags."""

    def state() -> list[tuple[int, int | None, bool, bytes]]:
        return [
            (id(t), None if t.grad is None else id(t.grad), t.requires_grad, t.detach().numpy().tobytes())
            for module in modules
            for t in module.state_dict(keep_vars=True).values()
        ]

    before = state(), [m.training for module in modules for m in module.modules()]
    yield
    assert (state(), [m.training for module in modules for m in module.modules()]) == before


def backward_macs(step: TrainingStep) -> dict[str, int]:
    """Of each layer that has some."""
    rows = zip(step.layers["name"], step.layers["backward_macs"], strict=True)
    return {name: macs for name, macs in rows if macs}


def flops(phase: Profile, op: str) -> list[int]:
    """Of each call of an op whose name begins so."""
    return [priced.work.flops for priced in phase.pricing.ops if priced.call.op.startswith(op)]


def gradient_bytes(step: TrainingStep) -> int:
    """Of all parameters."""
    return sum(step.record.graph.storages[i].nbytes for i in step.record.gradients)


class LoraLinear(nn.Module):
    """A frozen linear layer and what is learnt beside it: ``base(x) + B(A(x)) * scaling``, in peft's order."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = 2.0

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both."""
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling  # type: ignore[no-any-return]


class TwoLayers(nn.Module):
    """Two linear layers, 8 to 16 to 4 features."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """With ReLU between them."""
        return self.b(F.relu(self.a(x)))  # type: ignore[no-any-return]


def own_adapters() -> nn.Module:
    """Two layers with adapters of rank 2, written as peft writes them."""
    model = TwoLayers()
    model.a, model.b = LoraLinear(model.a, 2), LoraLinear(model.b, 2)  # type: ignore[assignment]  # as peft does
    return model


def pefts_adapters() -> nn.Module:
    """The same by peft itself."""
    peft: Any = import_module("peft")
    adapted: nn.Module = peft.get_peft_model(TwoLayers(), peft.LoraConfig(r=2, lora_alpha=4, target_modules=["a", "b"]))
    return adapted


ADAPTERS = [own_adapters, *([pefts_adapters] if find_spec("peft") else [])]


@pytest.mark.parametrize("make", ADAPTERS)
def test_adapters_alone_are_learnt(make: Callable[[], nn.Module]) -> None:
    """MACs, gradients and state are those of the adapters; a frozen layer gives only its input's gradient, if needed.

    Batch N = 3, rank 2. Of the second layer: the base's input gradient is N x 16 x 4, A's weight and input are
    2 x N x 16 x 2, B's 2 x N x 2 x 4. Of the first layer, whose input needs no gradient: the base nothing, A's
    weight N x 8 x 2, B's 2 x N x 2 x 16.
    """
    model = make()
    with untouched(model):
        step = costmodel.training_step(model, (3, 8), optimizer="adam")
    found = {
        name.removeprefix("base_model.model.").removesuffix(".default"): n for name, n in backward_macs(step).items()
    }
    assert found == {
        "b.base_layer": 3 * 16 * 4,
        "b.lora_A": 2 * 3 * 16 * 2,
        "b.lora_B": 2 * 3 * 2 * 4,
        "a.lora_A": 3 * 8 * 2,
        "a.lora_B": 2 * 3 * 2 * 16,
    }
    adapters = 2 * (8 + 16) + 2 * (16 + 4)
    assert step.trainable_params == adapters
    assert gradient_bytes(step) == 4 * adapters
    assert sum(step.record.graph.storages[i].nbytes for i in step.record.state) == 2 * 4 * adapters + 4 * 4
    assert step.crosscheck().ok


def test_a_weight_is_frozen_and_its_bias_is_learnt() -> None:
    """As BitFit does: of each layer but the first the input's gradient, of no layer the weight's."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    for layer in (model[0], model[2]):
        layer.weight.requires_grad_(False)
    with untouched(model):
        step = costmodel.training_step(model, (3, 8), optimizer="sgd")
    assert backward_macs(step) == {"2": 3 * 16 * 4}
    assert step.trainable_params == 16 + 4
    # ReLU's output alone is kept, and that for ReLU: no weight's gradient needs a layer's input.
    assert step.saved_bytes == 4 * 3 * 16
    assert step.crosscheck().ok


class Tied(nn.Module):
    """A language model of an embedding, a layer, and the embedding's weight again."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.layer(self.embedding(tokens)))  # type: ignore[no-any-return]


def test_tied_weights_have_one_gradient() -> None:
    """Both uses add to one gradient of 50 x 8: one addition of its size, one update, one state."""
    model, tokens = Tied(), torch.zeros(2, 5, dtype=torch.long)
    with untouched(model):
        step = costmodel.training_step(model, tokens, optimizer="momentum")
    assert step.trainable_params == 50 * 8 + 8 * 8 + 8
    assert len(step.record.gradients) == len(step.record.state) == 3
    assert backward_macs(step) == {"layer": 2 * 10 * 8 * 8, "head": 2 * 10 * 8 * 50}
    assert flops(step.backward, "aten.add") == [50 * 8]


class Cubed(torch.autograd.Function):
    """``x ** 3`` that keeps its input alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Two products."""
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Three products, for which autograd of the same formula would have run five and sums."""
        (x,) = ctx.saved_tensors
        return gradients[0] * 3 * (x * x)  # type: ignore[no-any-return]  # of saved_tensors


class WithCubed(nn.Module):
    """A layer, and a function of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        """The function of the layer's output."""
        return Cubed.apply(self.layer(x))  # type: ignore[no-any-return, no-untyped-call]


def test_a_custom_function_runs_its_own_backward() -> None:
    """Two multiplications of 3 x 6 forward, three backward; kept are the layer's input and the function's."""
    model = WithCubed()
    with untouched(model):
        step = costmodel.training_step(model, (3, 4), optimizer=None)
    assert flops(step.forward, "aten.mul") == 2 * [3 * 6]
    assert flops(step.backward, "aten.mul") == 3 * [3 * 6]
    assert step.saved_bytes == 4 * (3 * 4 + 3 * 6)


class ReturnsLoss(nn.Module):
    """As networks of transformers do, where they are given labels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 5)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits."""
        logits = self.layer(x)
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


def test_a_model_returns_its_loss() -> None:
    """That is what is differentiated: nothing runs in the phase of the loss, and the logits are not summed."""
    model, inputs = ReturnsLoss(), {"x": torch.zeros(3, 8), "labels": torch.zeros(3, dtype=torch.long)}
    with untouched(model):
        step = costmodel.training_step(model, inputs, optimizer="sgd")
    assert not step.loss.pricing.ops
    assert len(flops(step.forward, "aten.nll_loss")) == 1
    assert backward_macs(step) == {"layer": 3 * 8 * 5}


class TwoHeads(nn.Module):
    """One trunk, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.one, self.other = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of both heads."""
        features = self.trunk(x)
        return self.one(features), self.other(features)


@pytest.mark.parametrize("together", [True, False])
def test_several_losses(*, together: bool) -> None:
    """As a sum or as they are, they are differentiated in one pass: the trunk once, each head once."""
    model = TwoHeads()

    def several(outputs: tuple[Tensor, Tensor]) -> Any:
        losses = outputs[0].square().mean(), outputs[1].abs().mean()
        return losses[0] + losses[1] if together else losses

    with untouched(model):
        step = costmodel.training_step(model, (3, 8), loss=several, optimizer="sgd")
    assert backward_macs(step) == {"trunk": 3 * 8 * 16, "one": 2 * 3 * 16 * 4, "other": 2 * 3 * 16 * 2}


class Gan(nn.Module):
    """What is scored of a generator's fakes (8 to 16 features) by a discriminator (16 to 1)."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, detach: bool) -> None:
        super().__init__()
        self.generator, self.discriminator, self.detach = generator, discriminator, detach

    def forward(self, noise: Tensor) -> Tensor:
        """Scores of the fakes."""
        fakes = self.generator(noise)
        return self.discriminator(fakes.detach() if self.detach else fakes)  # type: ignore[no-any-return]


def test_a_gans_two_steps() -> None:
    """The generator's goes through the frozen discriminator, whose weight has no gradient; the other's stops at it."""
    generator, discriminator = nn.Linear(8, 16), nn.Linear(16, 1)
    discriminator.requires_grad_(False)
    with untouched(generator, discriminator):
        step = costmodel.training_step(Gan(generator, discriminator, detach=False), (3, 8), optimizer="adam")
    assert step.forward.macs == 3 * 8 * 16 + 3 * 16
    assert backward_macs(step) == {"generator": 3 * 8 * 16, "discriminator": 3 * 16}
    assert step.trainable_params == 8 * 16 + 16

    discriminator.requires_grad_(True)
    generator.requires_grad_(False)
    with untouched(generator, discriminator):
        step = costmodel.training_step(Gan(generator, discriminator, detach=True), (3, 8), optimizer="adam")
    assert backward_macs(step) == {"discriminator": 3 * 16}
    assert gradient_bytes(step) == 4 * (16 + 1)

    generator.requires_grad_(True)  # as people leave it: detached fakes give the generator neither gradient nor update
    with untouched(generator, discriminator):
        again = costmodel.training_step(Gan(generator, discriminator, detach=True), (3, 8), optimizer="adam")
    assert backward_macs(again) == {"discriminator": 3 * 16}
    assert again.update.flops == step.update.flops


class Penalised(nn.Module):
    """A critic's score of x with WGAN-GP's penalty, of which a gradient is a part (arXiv:1704.00028, algorithm 1)."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Conv2d(3, 8, 3), activation, nn.Flatten(), nn.Linear(8 * 6 * 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The loss."""
        x = x.detach().requires_grad_()
        score = self.critic(x).sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        return score + 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.SiLU(), nn.Softplus()])
def test_a_gradient_penalty(activation: nn.Module) -> None:
    """Autograd keeps as much as in a real forward; a layer's closed form has what its own forward keeps of that."""
    model = Penalised(activation)
    with untouched(model):
        step = costmodel.training_step(model, (4, 3, 8, 8), loss=lambda loss: loss, optimizer="sgd")
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        model(torch.rand(4, 3, 8, 8))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    assert step.saved_bytes == sum(nbytes for place, nbytes in storages.items() if place not in own)
    assert step.crosscheck().ok, step.crosscheck().mismatches
    assert costmodel.saved.parse(step.to_json()).crosscheck().ok


def test_gradients_are_added_up_over_steps() -> None:
    """Of n passes each parameter's gradient is added n - 1 times; one update; saved tensors as of one pass."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    with untouched(model):
        one, four = (costmodel.training_step(model, (3, 8), optimizer="sgd", steps=n) for n in (1, 4))
    parameters = 8 * 16 + 16 + 16 * 4 + 4
    assert four.forward.macs == 4 * one.forward.macs
    assert four.backward.macs == 4 * one.backward.macs
    assert four.backward.flops == 4 * one.backward.flops + 3 * parameters
    assert four.update.flops == one.update.flops


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_multiplies_in_half(dtype: str) -> None:
    """Products of matrices run in the half type, forward and backward; gradients of parameters are in float32."""
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    with untouched(model):
        step = costmodel.training_step(model, (3, 8), autocast=dtype, optimizer="sgd")
    products = [op for phase in (step.forward, step.backward) for op in phase.pricing.ops if op.work.macs]
    assert len(products) == 2 + 3
    for product in products:
        assert {t.dtype for t in product.call.outputs} == {dtype}
    assert gradient_bytes(step) == 4 * step.trainable_params


class ReadsValue(nn.Module):
    """Two layers, and a decision between them that needs a value."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.reads = reads
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """The same whatever the decision."""
        x = F.relu(self.first(x))
        if self.reads and not bool(torch.isfinite(x.detach()).all()):
            raise ValueError("not finite")
        return self.second(x)  # type: ignore[no-any-return]


def test_a_model_that_needs_values_runs_for_real() -> None:
    """And says so; but for the ops of the read, its figures are those of the same model without it."""
    model = ReadsValue(reads=True)
    with untouched(model):
        real = costmodel.training_step(model, (3, 8), optimizer="adamw")
    meta = costmodel.training_step(ReadsValue(reads=False), (3, 8), optimizer="adamw")
    assert (real.execution, meta.execution) == ("real", "meta")
    assert real.forward.macs == meta.forward.macs
    for phase in ("loss", "backward", "update"):
        found, expected = getattr(real, phase), getattr(meta, phase)
        assert (found.macs, found.flops, found.memory_access) == (expected.macs, expected.flops, expected.memory_access)
    assert real.saved_bytes == meta.saved_bytes
    assert real.peak_memory == meta.peak_memory
    assert real.crosscheck().ok


def test_hooks_on_gradients_run() -> None:
    """A mask multiplied onto a gradient costs its size, also on a tied weight, whose gradient it meets summed."""
    model, mask, seen = Tied(), torch.ones(50, 8), []
    model.embedding.weight.register_hook(lambda gradient: gradient * mask)
    model.layer.bias.register_hook(lambda gradient: seen.append(tuple(gradient.shape)))
    model.layer.weight.register_hook(lambda gradient: gradient * 2)
    model.layer.weight.requires_grad_(False)
    with untouched(model):
        step = costmodel.training_step(model, torch.zeros(2, 5, dtype=torch.long), optimizer="sgd")
    assert flops(step.backward, "aten.mul") == [50 * 8]
    assert seen == [(8,)]
    assert step.is_exact


def test_a_hook_that_reads_a_gradient_runs_for_real() -> None:
    """As a norm that is printed does."""
    model, norms = nn.Linear(8, 4), []
    model.weight.register_hook(lambda gradient: norms.append(gradient.norm().item()))
    with untouched(model):
        step = costmodel.training_step(model, (3, 8), optimizer="sgd")
    assert step.execution == "real"
    assert norms[-1] > 0


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_an_optimizer_in_the_backward_pass_is_not_run(execution: Any) -> None:
    """Its hooks would update the model itself, whose gradients are there: the step says that they are not counted."""
    model = nn.Linear(8, 4)
    model(torch.ones(3, 8)).sum().backward()
    optimizers = {parameter: torch.optim.SGD([parameter], lr=1.0, momentum=0.9) for parameter in model.parameters()}
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: optimizers[parameter].step())
    with untouched(model):
        step = costmodel.training_step(model, (3, 8), optimizer=None, execution=execution)
    assert not any(optimizer.state for optimizer in optimizers.values())
    assert not step.is_exact
    (note,) = step.backward.pricing.graph.notes
    assert note.why.startswith("hooks of register_post_accumulate_grad_hook are not run")
    assert "(2 have one, 'weight' first)" in note.why
