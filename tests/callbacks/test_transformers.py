"""The callback for the Trainer of transformers, in real trainings on the CPU."""

from __future__ import annotations

import logging
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import costmodel
from costmodel.callbacks import TransformersCosts
from costmodel.callbacks.clock import Clock

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, of which each release has others

PARTS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
ROWS, LENGTH = 4, 8
H100 = 66.9e12
"""FLOP/s of float32: NVIDIA, H100 Tensor Core GPU Architecture, the SXM5 module."""


class Texts(torch.utils.data.Dataset[Any]):
    """Twenty-two texts, so that the last of six batches has two."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, i: int) -> dict[str, Any]:
        drawn = torch.Generator().manual_seed(i)
        ids = torch.randint(0, 30, (LENGTH,), generator=drawn)
        return {"input_ids": ids, "attention_mask": torch.ones(LENGTH, dtype=torch.long), "labels": ids}


def network() -> Any:
    """A language model with dropout, so that numbers are drawn."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(vocab_size=30, attention_dropout=0.1, **PARTS)
    return transformers.LlamaForCausalLM(config)


def trainer(folder: Path, model: Any = None, **how: Any) -> Any:
    """A trainer that logs every second step, of three in an epoch."""
    options = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": ROWS, "logging_steps": 2,
        "gradient_accumulation_steps": 2, "report_to": [], "use_cpu": True, "save_strategy": "no", "disable_tqdm": True,
        "seed": 5, "weight_decay": 0.1,
    } | how  # fmt: skip
    others = {name: options.pop(name) for name in ("compute_loss_func", "callbacks") if name in options}
    kind = options.pop("kind", transformers.Trainer)
    args = transformers.TrainingArguments(**options)
    return kind(model or network(), args, train_dataset=Texts(), eval_dataset=Texts(), **others)


def with_costs(made: Any, *given: Any, **how: Any) -> tuple[Any, TransformersCosts]:
    """The trainer with the callback."""
    callback = TransformersCosts(made, *given, **how)
    made.add_callback(callback)
    made.train()
    return made, callback


def logged(made: Any) -> dict[int, dict[str, float]]:
    """The figures of costs in the trainer's history, by step."""
    found: dict[int, dict[str, float]] = {}
    for entry in made.state.log_history:
        figures = {name: value for name, value in entry.items() if name.startswith("costs/")}
        if figures:
            found[entry["step"]] = figures
    return found


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the callback sees: half a second for each forward of the model that runs."""
    time = [0.0]
    monkeypatch.setattr("costmodel.callbacks.clock.Clock", partial(Clock, lambda: time[0]))
    return time


def counts_time(model: nn.Module, now: list[float]) -> nn.Module:
    """The model, each of whose forwards takes half a second."""

    def half(*_: Any) -> None:
        now[0] += 0.5

    model.register_forward_hook(half)
    return model


@pytest.mark.parametrize("checkpoints", [False, True])
def test_the_step_that_runs_is_logged(checkpoints: bool, tmp_path: Path, now: list[float]) -> None:
    """Batch, accumulation, optimizer and checkpoints; of a step whose last batch is smaller, that batch."""
    made = trainer(tmp_path, counts_time(network(), now), gradient_checkpointing=checkpoints, logging_steps=3)
    made, callback = with_costs(made, "h100")
    model = network()
    model.train()
    model.config.use_cache = False  # as the trainer sets it
    if checkpoints:
        model.gradient_checkpointing_enable()
    ids = costmodel.Input((ROWS, LENGTH), torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids, "labels": ids}
    decayed = {id(p) for name, p in model.named_parameters() if "norm" not in name}
    its = [id(p) in decayed for p in model.parameters()]

    def adamw(parameters: Any) -> torch.optim.Optimizer:
        mine = list(parameters)
        groups = [[p for p, decays in zip(mine, its, strict=True) if decays is which] for which in (True, False)]
        return torch.optim.AdamW(
            [{"params": groups[0], "weight_decay": 0.1}, {"params": groups[1], "weight_decay": 0.0}], fused=True
        )

    whole = costmodel.training_step(model, inputs, optimizer=adamw, steps=2)
    found = logged(made)
    assert {name: found[3][f"costs/{name}"] for name in ("params", "step_macs", "step_flops", "peak_memory")} == {
        "params": sum(p.numel() for p in model.parameters()), "step_macs": whole.macs, "step_flops": whole.flops,
        "peak_memory": whole.peak_memory,
    }  # fmt: skip
    assert callback.step is not None
    assert (callback.step.recomputed_macs > 0) == checkpoints
    # Per epoch: two updates of two batches of 4, one of a batch of 4 and one of 2. The very first does not count.
    of_four = costmodel.training_step(model, inputs, optimizer=None)
    of_two = of_four.with_batch(2)
    model_macs = 3 * (of_four.macs - of_four.recomputed_macs) + of_two.macs - of_two.recomputed_macs
    seconds = 0.5 * 4
    assert found[3]["costs/step_seconds"] == 1.0
    assert found[3]["costs/mfu"] == pytest.approx(2 * model_macs / (seconds * H100), rel=1e-9, abs=0)
    hardware = 3 * of_four.macs + of_two.macs
    assert found[3]["costs/hfu"] / found[3]["costs/mfu"] == pytest.approx(hardware / model_macs, rel=1e-9, abs=0)


def test_mixed_precision_is_that_of_the_trainer(tmp_path: Path) -> None:
    """What accelerate has added to the model's forward is traced."""
    _, callback = with_costs(trainer(tmp_path, bf16=True, max_steps=2))
    assert callback.step is not None
    products = {op.outputs[0].dtype for op in callback.step.forward.graph.ops if op.op == "aten.mm.default"}
    assert products == {"bfloat16"}
    assert callback.step.params == sum(p.numel() for p in network().parameters())


def test_the_training_is_the_same(tmp_path: Path) -> None:
    """Losses, gradients' norms, weights and numbers drawn afterwards are as without; nothing of it stays."""
    seen: list[Any] = []
    for add in (False, True):
        random.seed(0)
        made = trainer(tmp_path, eval_strategy="steps", eval_steps=3)
        if add:
            with_costs(made, "h100")
            assert logged(made)[4]["costs/mfu"] > 0
        else:
            made.train()
        measured = ("loss", "grad_norm", "learning_rate", "eval_loss")
        history = [{name: entry[name] for name in measured if name in entry} for entry in made.state.log_history]
        weights = [parameter.detach().clone() for parameter in made.model.parameters()]
        hooks = [[*child._forward_hooks, *child._forward_pre_hooks] for child in made.model.modules()]
        history = [entry for entry in history if entry]
        seen.append((history, hooks, vars(made).keys(), weights, torch.rand(1), random.random()))
    (*plain, weights, drawn, number), (*with_it, its_weights, its_drawn, its_number) = seen
    assert plain == with_it
    assert len(plain[0]) >= 5
    assert all(map(torch.equal, weights, its_weights))
    assert (drawn, number) == (its_drawn, its_number)


def test_evaluations_and_checkpoints_take_no_time(tmp_path: Path, now: list[float]) -> None:
    """Steps between which the trainer evaluates and saves are as long as others, also where a callback asks for it."""

    class Saves(transformers.Trainer):
        def save_model(self, *given: Any, **how: Any) -> None:
            now[0] += 1000
            super().save_model(*given, **how)

    class Asks(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            made.predict(Texts())
            if made.state.global_step % 2:
                made.evaluate()  # after which the trainer itself neither logs nor evaluates

    how = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "logging_steps": 1}
    made = trainer(tmp_path, counts_time(network(), now), kind=Saves, callbacks=[Asks()], **how)
    made, _ = with_costs(made)
    assert now[0] > 6 * (1000 + 2 * 3 * 0.5)  # per step a checkpoint, and twice 22 texts in batches of 8
    assert [logged(made)[step]["costs/step_seconds"] for step in (2, 4, 6)] == [1.0] * 3


def test_tensorboard_has_it(tmp_path: Path) -> None:
    """What the trainer's reporting to TensorBoard wrote is read back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with_costs(trainer(tmp_path, report_to=["tensorboard"]), "h100")
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    read = EventAccumulator(str(file))
    read.Reload()
    assert [event.step for event in read.Scalars("train/costs/mfu")] == [2, 4, 6]
    assert [event.step for event in read.Scalars("train/loss")] == [2, 4, 6]
    assert [event.step for event in read.Scalars("train/costs/params")] == [2]


class Reads(transformers.LlamaForCausalLM):
    """Its forward takes a way by values."""

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None, **rest: Any) -> Any:
        out = super().forward(input_ids=input_ids, attention_mask=attention_mask, labels=labels, **rest)
        out.loss = out.loss if (out.logits < 100).all() else 2 * out.loss
        return out


def own_loss(outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:
    """A loss of one's own."""
    return nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten())


@pytest.mark.parametrize(
    ("model", "how", "says"),
    [
        (Reads, {}, "what a step costs is not known: "),
        (None, {"compute_loss_func": own_loss}, "the loss is computed outside of the model, and in no figure"),
    ],
)
def test_what_cannot_be_known_is_said(
    model: type[Reads] | None, how: dict[str, Any], says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in the log; the training goes on, and its time is logged."""
    caplog.set_level(logging.WARNING, "costmodel")
    made, _ = with_costs(trainer(tmp_path, None if model is None else model(network().config), **how), "h100")
    (message,) = [record.getMessage() for record in caplog.records if record.name == "costmodel"]
    assert message.startswith(says)
    assert logged(made)[4]["costs/step_seconds"] > 0
    assert ("costs/mfu" in logged(made)[4]) == (model is None)


def test_a_training_after_one_that_was_cut_off(tmp_path: Path, now: list[float]) -> None:
    """Each batch counts once, although nobody told the callback of the end; and the trainer is as it was."""
    made = trainer(tmp_path, counts_time(network(), now))
    made.add_callback(TransformersCosts(made, "h100"))

    class Stops(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

    made.add_callback(Stops)
    with pytest.raises(KeyboardInterrupt):
        made.train()
    made.remove_callback(Stops)
    made.train()
    alone, _ = with_costs(trainer(tmp_path, counts_time(network(), now)), "h100")
    assert [step["costs/mfu"] for step in logged(made).values()] == [
        step["costs/mfu"] for step in logged(alone).values()
    ]
    assert "compute_loss" not in vars(made)


def test_each_of_several_counts_each_batch_once(tmp_path: Path, now: list[float]) -> None:
    """Two callbacks, as where a cell of a notebook ran twice, are as one alone; the trainer is as it was."""
    alone, _ = with_costs(trainer(tmp_path, counts_time(network(), now)), "h100")
    expected = [[step["costs/mfu"]] * 2 for step in logged(alone).values()]
    made = trainer(tmp_path, counts_time(network(), now))
    for _ in range(2):
        made.add_callback(TransformersCosts(made, "h100"))
    for _ in range(3):
        made.train()
        found: dict[int, list[float]] = {}
        for entry in made.state.log_history:
            found.setdefault(entry["step"], []).extend(entry[name] for name in ("costs/mfu",) if name in entry)
        assert [figures for figures in found.values() if figures] == expected
        assert "compute_loss" not in vars(made)


def test_what_others_put_around_the_loss_stays(tmp_path: Path, now: list[float]) -> None:
    """A function that another callback puts in the place of ``compute_loss`` within a training is left there."""
    made = trainer(tmp_path, counts_time(network(), now))
    made.add_callback(TransformersCosts(made, "h100"))
    calls: list[int] = []

    class Wraps(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            before = made.compute_loss

            def other(*given: Any, **how: Any) -> Any:
                calls.append(1)
                return before(*given, **how)

            made.compute_loss = other

    made.add_callback(Wraps)
    made.train()
    first = logged(made)
    made.remove_callback(Wraps)
    calls.clear()
    made.train()
    assert len(calls) == 12
    assert [step["costs/mfu"] for step in logged(made).values()] == [step["costs/mfu"] for step in first.values()]


def test_what_is_logged_by_epoch_has_it(tmp_path: Path, now: list[float]) -> None:
    """A trainer that logs at the end of each epoch logs costs there, without the time of its evaluation."""
    how = {"logging_strategy": "epoch", "eval_strategy": "epoch"}
    made, _ = with_costs(trainer(tmp_path, counts_time(network(), now), **how), "h100")
    assert list(logged(made)) == [3, 6]
    assert [figures["costs/step_seconds"] for figures in logged(made).values()] == [1.0, 1.0]
    assert "costs/step_macs" in logged(made)[3]


def test_it_is_given_the_trainer(tmp_path: Path) -> None:
    """A device in its place is an error that shows what to write."""
    with pytest.raises(costmodel.InputError, match=r"give the trainer first: TransformersCosts\(trainer, device\)"):
        TransformersCosts("h100")


def test_what_goes_wrong_in_it_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the callback itself is said, and nothing more is logged."""

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr("costmodel.callbacks.transformers_costs.shapes", fails)
    made, _ = with_costs(trainer(tmp_path), "h100")
    assert made.state.global_step == 6
    assert caplog.text.count("costs are not logged any more: ZeroDivisionError: of its own") == 1
    assert not logged(made)
