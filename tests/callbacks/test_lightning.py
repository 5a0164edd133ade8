"""The callback for Lightning, in real trainings on the CPU."""

from __future__ import annotations

import copy
import csv
import logging
import pickle
import random
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.callbacks import LightningCosts

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own, of which each release has others

lightning = import_module("lightning.pytorch")
H100 = {"float32": 66.9e12, "bfloat16": 989.4e12}
"""FLOP/s: NVIDIA, H100 Tensor Core GPU Architecture, the SXM5 module, without sparsity."""


class Time:
    """A clock that stands still but for what a model's methods say that they take."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time that the callback sees."""
    from costmodel.callbacks.clock import Clock

    made = Time()
    monkeypatch.setattr("costmodel.callbacks.clock.Clock", partial(Clock, made))
    return made


class Net(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """What people write: a loss and a metric that are logged, a list that grows, numbers drawn in several ways."""

    def __init__(self, time: Time | None = None) -> None:
        super().__init__()
        from torchmetrics.classification import MulticlassAccuracy

        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
        self.accuracy = MulticlassAccuracy(4)
        self.losses: list[float] = []
        self.time = time

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.logger is not None:
            self.logger.log_metrics({"own": float(batch_idx)}, step=batch_idx)
        x, y = batch
        out = self.net(x * torch.full((8,), 1 + random.random() / 100))
        loss = nn.functional.cross_entropy(out, y)
        self.accuracy(out, y)
        self.log_dict({"loss": loss, "accuracy": self.accuracy})
        if self.time is not None:
            self.time.now += 0.5
        self.losses.append(loss.item())
        return {"loss": loss}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.time is not None:
            self.time.now += 100.0

    def configure_optimizers(self) -> Any:
        groups = [{"params": self.net[0].parameters(), "weight_decay": 0.0}, {"params": self.net[3].parameters()}]
        optimizer = torch.optim.AdamW(groups, lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def batches(rows: int = 36, size: int = 4) -> Any:
    """Nine batches of four."""
    drawn = torch.Generator().manual_seed(1)
    x, y = torch.randn(rows, 8, generator=drawn), torch.randint(0, 4, (rows,), generator=drawn)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=size, shuffle=True)


def fit(module: Any, folder: Path, callbacks: list[Any], *, logger: Any = None, data: Any = None, **how: Any) -> Any:
    """A training of one epoch, by default logged every third step; returns the trainer."""
    torch.manual_seed(0)
    random.seed(0)
    options = {
        "max_epochs": 1, "log_every_n_steps": 3, "accelerator": "cpu", "devices": 1, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    } | how  # fmt: skip
    trainer = lightning.Trainer(
        callbacks=callbacks, logger=logger or lightning.loggers.CSVLogger(folder), default_root_dir=folder, **options
    )
    trainer.fit(module, data or batches())
    return trainer


def logged(trainer: Any) -> dict[int, dict[str, float]]:
    """The figures of costs in the file of metrics, by step."""
    found: dict[int, dict[str, float]] = {}
    for row in csv.DictReader((Path(trainer.logger.log_dir) / "metrics.csv").open()):
        figures = {name: float(value) for name, value in row.items() if name.startswith("costs/") and value}
        found.setdefault(int(row["step"]), {}).update(figures)
    return {step: figures for step, figures in found.items() if figures}


def step(passes: int, autocast: str | None = None, dtype: torch.dtype = torch.float32) -> costmodel.TrainingStep:
    """The step that runs, from parts that are taken here by hand."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)).to(dtype)
    target = torch.zeros(4, dtype=torch.long)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(net(x * torch.full((8,), 1.01, dtype=dtype)), target)

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        weight, bias, *others = parameters
        return torch.optim.AdamW([{"params": [weight, bias], "weight_decay": 0.0}, {"params": others}], lr=1e-2)

    inputs = costmodel.Input((4, 8), dtype)
    return costmodel.training_step(forward, inputs, autocast=autocast, optimizer=optimizer, steps=passes)


@pytest.mark.parametrize(
    ("precision", "passes", "made"),
    [
        ("32-true", 1, {}),
        ("32-true", 3, {}),
        ("bf16-mixed", 1, {"autocast": "bfloat16"}),
        ("bf16-true", 1, {"dtype": torch.bfloat16}),
    ],
)
def test_the_step_that_runs_is_logged(precision: str, passes: int, made: Any, tmp_path: Path, time: Time) -> None:
    """Batch, precision, accumulation and optimizer are those of the trainer; time is that of training alone."""
    trainer = fit(
        Net(time), tmp_path, [LightningCosts("h100")], precision=precision, accumulate_grad_batches=passes,
        log_every_n_steps=3 if passes == 1 else 1,
    )  # fmt: skip
    found, expected = logged(trainer), step(passes, **made)
    macs = 4 * (8 * 16 + 16 * 4) + 4 * (8 * 16 + 2 * 16 * 4)  # forward; backward, to the input of the second layer
    assert found[0] == {
        "costs/params": 212, "costs/trainable_params": 212, "costs/step_macs": passes * macs,
        "costs/step_flops": expected.flops, "costs/peak_memory": expected.peak_memory,
    }  # fmt: skip
    assert sorted(found) == ([0, 2, 5, 8] if passes == 1 else [0, 1, 2])
    peak = H100["float32" if precision == "32-true" else "bfloat16"]
    for figures in list(found.values())[1:]:
        assert figures["costs/step_seconds"] == 0.5 * passes
        assert figures["costs/mfu"] == figures["costs/hfu"] == pytest.approx(2 * macs / (0.5 * peak), rel=1e-9, abs=0)


def test_validation_takes_no_time(tmp_path: Path, time: Time) -> None:
    """Steps between which a validation runs are as long as others, and so is the making of its workers."""

    class Slow(torch.utils.data.DataLoader[Any]):
        def __iter__(self) -> Any:
            time.now += 1000
            return super().__iter__()

    module = Net(time)
    module.val_dataloader = lambda: Slow(batches().dataset)
    found = logged(fit(module, tmp_path, [LightningCosts()], val_check_interval=2))
    assert time.now > 4000
    assert {figures["costs/step_seconds"] for figures in list(found.values())[1:]} == {0.5}
    assert "costs/mfu" not in found[2]  # of no device
    assert found[2]["costs/model_flops_per_second"] == 2 * 4 * (2 * 8 * 16 + 3 * 16 * 4) / 0.5


@pytest.mark.parametrize("weights_only", [False, True])
def test_checkpoints_take_no_time(weights_only: bool, tmp_path: Path, time: Time) -> None:
    """Neither what is asked of the module for one, nor what the trainer writes, after any step or a validation."""

    class Slow(lightning.plugins.io.TorchCheckpointIO):  # type: ignore[misc, name-defined]
        def save_checkpoint(self, *given: Any, **how: Any) -> None:
            time.now += 100
            super().save_checkpoint(*given, **how)

    module = Net(time)
    module.val_dataloader = batches
    module.on_save_checkpoint = lambda _: vars(time).update(now=time.now + 1000)
    saves = lightning.callbacks.ModelCheckpoint(every_n_train_steps=2, save_weights_only=weights_only, save_top_k=-1)
    own = LightningCosts()
    trainer = fit(module, tmp_path, [own, saves], enable_checkpointing=True, plugins=[Slow()], log_every_n_steps=1)
    assert time.now > 400
    assert [figures["costs/step_seconds"] for figures in list(logged(trainer).values())[1:]] == [0.5] * 8
    assert "save_checkpoint" not in vars(trainer)


def test_what_each_of_several_does_itself_takes_no_time(tmp_path: Path, time: Time) -> None:
    """The traces of one, and what it logs, are in the time of no other, before it in the list or after it."""

    class Slow(lightning.loggers.CSVLogger):  # type: ignore[misc, name-defined]
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if any(name.startswith("costs/") for name in metrics):
                time.now += 100
                written.append(metrics)
            super().log_metrics(metrics, step)

    written: list[dict[str, float]] = []
    three = [LightningCosts("h100") for _ in range(3)]
    trainer = fit(Net(time), tmp_path, three, logger=Slow(tmp_path), log_every_n_steps=1, data=batches(35))
    assert trainer.global_step == 9
    assert [metrics["costs/step_seconds"] for metrics in written[3:]] == [0.5] * 8 * 3
    of_four = 2 * 4 * (2 * 8 * 16 + 3 * 16 * 4) / (0.5 * H100["float32"])
    shares = [metrics["costs/mfu"] / of_four for metrics in written[3:]]
    assert shares == pytest.approx([1] * 7 * 3 + [3 / 4] * 3, rel=1e-9, abs=0)


def test_a_validation_between_the_passes_of_a_step_leaves_out_its_own_time_alone(tmp_path: Path, time: Time) -> None:
    """The passes before it are of the same step as those after it, and so is their time."""
    module = Net(time)
    module.val_dataloader = batches
    trainer = fit(
        module, tmp_path, [LightningCosts("h100")], val_check_interval=1, accumulate_grad_batches=3,
        log_every_n_steps=1,
    )  # fmt: skip
    assert time.now > 900
    found = logged(trainer)
    macs = 3 * 4 * (2 * 8 * 16 + 3 * 16 * 4)
    for figures in list(found.values())[1:]:
        assert figures["costs/step_seconds"] == 1.5
        assert figures["costs/mfu"] == pytest.approx(2 * macs / (1.5 * H100["float32"]), rel=1e-9, abs=0)


def test_the_training_is_the_same(tmp_path: Path) -> None:
    """Losses, weights, metrics, what a module keeps, hooks, and numbers drawn afterwards are as without it."""
    seen = []
    for callbacks in ([], [LightningCosts("h100")]):
        torch.manual_seed(2)
        module = Net()
        trainer = fit(module, tmp_path, callbacks, max_epochs=2)
        own = [
            {name: value for name, value in row.items() if not name.startswith("costs/")}
            for row in csv.DictReader((Path(trainer.logger.log_dir) / "metrics.csv").open())
        ]
        own = [row for row in own if any(value for name, value in row.items() if name != "step")]
        weights = [parameter.detach().clone() for parameter in module.parameters()]
        hooks = [list(child._forward_hooks) + list(child._forward_pre_hooks) for child in module.modules()]
        attributes = [sorted(vars(child)) for child in module.modules()]
        seen.append((module.losses, own, hooks, attributes, weights, torch.rand(1), random.random()))
    (*plain, weights, drawn, number), (*with_costs, its_weights, its_drawn, its_number) = seen
    assert plain == with_costs
    assert len(plain[0]) == 18
    assert all(map(torch.equal, weights, its_weights))
    assert (drawn, number) == (its_drawn, its_number)


def test_tensorboard_has_it(tmp_path: Path) -> None:
    """What the logger of TensorBoard wrote is read back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(Net(), tmp_path, [LightningCosts("h100")], logger=lightning.loggers.TensorBoardLogger(tmp_path))
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    read = EventAccumulator(str(file))
    read.Reload()
    assert [event.step for event in read.Scalars("costs/mfu")] == [2, 5, 8]
    assert [(event.step, event.value) for event in read.Scalars("costs/params")] == [(0, 212)]


class Manual(Net):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.net(batch[0]).sum())
        optimizer.step()


class Reads(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = self.net(batch[0])
        return out.sum() * (2 if (out > 0).all() else 1)


class Twice(Net):
    """With an optimizer that asks for two backward passes an update."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), max_iter=2, max_eval=3, tolerance_grad=0, tolerance_change=0)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Manual, ["what a step costs is not known: automatic_optimization is off"]),
        (Reads, ["what a step costs is not known: in Reads's own forward: aten._local_scalar_dense.default reads"]),
        (Net, ["training_step reads a number of a tensor, for which its trace has 1.0"]),
        (Twice, ["training_step reads a number", "the update is in no figure: optimizer=LBFGS"]),
    ],
)
def test_what_cannot_be_known_is_said(
    module: type[Net], says: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in the log; the training goes on, and its time is logged."""
    caplog.set_level(logging.WARNING, "costmodel")
    trainer = fit(module(), tmp_path, [LightningCosts("h100")])
    messages = [record.getMessage() for record in caplog.records if record.name == "costmodel"]
    assert [message[: len(part)] for message, part in zip(messages, says, strict=True)] == says
    found = logged(trainer)
    assert found[2]["costs/step_seconds"] > 0
    assert ("costs/mfu" in found[2]) == (module in (Net, Twice))


def test_every_backward_pass_counts(tmp_path: Path, time: Time) -> None:
    """An optimizer that calls its closure several times a step has as many passes."""
    module = Twice(time)
    found = logged(fit(module, tmp_path, [LightningCosts("h100")]))
    macs = 4 * (2 * 8 * 16 + 3 * 16 * 4)
    assert len(module.losses) > 9
    for figures in list(found.values())[1:]:
        assert figures["costs/mfu"] == pytest.approx(2 * macs / (0.5 * H100["float32"]), rel=1e-9, abs=0)


def test_a_step_can_be_given(tmp_path: Path, time: Time) -> None:
    """Where none can be traced, what the user says is taken; and what cannot be meant is refused at once."""
    module = Manual()
    module.time = time
    given = costmodel.training_step(nn.Linear(4, 4), (8, 4))
    callback = LightningCosts("h100", step=given)
    found = logged(fit(module, tmp_path, [callback]))
    assert found[0]["costs/step_macs"] == given.macs
    assert callback.step is given
    for how, says in (({"device": "h1000"}, "h100"), ({"math": "tf16"}, "tf32"), ({"step": 3}, "training_step")):
        with pytest.raises(costmodel.InputError, match=says):
            LightningCosts(**how)  # type: ignore[arg-type]


class Alternates(Manual):
    """Updates two parts in turn, each batch both."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.log("own", float(batch_idx))
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.net(batch[0]).sum())
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[i].parameters(), lr=0.1) for i in (0, 3)]


def test_several_updates_a_batch_are_logged_at_the_step_of_the_other_figures(tmp_path: Path) -> None:
    """Lightning numbers batches, and counts updates elsewhere."""
    given = costmodel.training_step(nn.Linear(4, 4), (8, 4))
    trainer = fit(Alternates(), tmp_path, [LightningCosts("h100", step=given)])
    rows = list(csv.DictReader((Path(trainer.logger.log_dir) / "metrics.csv").open()))
    own = [int(row["step"]) for row in rows if row.get("own")]
    assert own == [2, 5, 8]
    assert sorted(logged(trainer)) == [0, *own]


def test_a_training_that_fails_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    """An error of the user's own code, of which Lightning tells in another way than of an end."""

    class Fails(Net):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            assert "save_checkpoint" in vars(self.trainer)
            raise ZeroDivisionError("of the user")

    fails = Fails()
    with pytest.raises(ZeroDivisionError, match="of the user"):
        fit(fails, tmp_path, [LightningCosts()])
    assert "save_checkpoint" not in vars(fails.trainer)
    assert "run" not in vars(fails.trainer.fit_loop.epoch_loop.val_loop)


def test_what_goes_wrong_in_it_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the callback itself is said, and nothing more is logged."""

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr("costmodel.callbacks.lightning_costs.shapes", fails)
    trainer = fit(Net(), tmp_path, [LightningCosts("h100")])
    assert trainer.global_step == 9
    assert caplog.text.count("costs are not logged any more: ZeroDivisionError: of its own") == 1
    assert not logged(trainer)


def test_it_can_be_sent_to_another_process() -> None:
    """Pickled and copied it is the same callback, as ``ddp_spawn`` needs."""
    for sent in (pickle.loads(pickle.dumps(LightningCosts("h100"))), copy.deepcopy(LightningCosts("h100"))):
        assert isinstance(sent, lightning.Callback)
        assert isinstance(sent, LightningCosts)
        assert vars(sent) == vars(LightningCosts("h100"))


def test_without_the_packages_it_can_be_imported() -> None:
    """Both callbacks; making one is an error that names the package and the extra. Nothing heavy is imported before."""
    code = """
import sys
packages = ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers")
for name in packages: sys.modules[name] = None
from costmodel.callbacks import LightningCosts, TransformersCosts
assert "torch" not in sys.modules
for make in (LightningCosts, lambda: TransformersCosts(None)):
    try: make()
    except Exception as error: print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split("not installed: ")[1] for line in done.stdout.splitlines()] == [
        "pip install lightning (the extra 'lightning' of costmodel has it)",
        "pip install transformers (the extra 'transformers' of costmodel has it)",
    ]  # fmt: skip


def test_the_other_package_takes_it(tmp_path: Path) -> None:
    """The same training under the name ``pytorch_lightning``."""
    import pytorch_lightning

    class Other(pytorch_lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 4)

        def training_step(self, batch: Any) -> Any:
            loss = self.net(batch[0]).sum()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    assert isinstance(LightningCosts(), pytorch_lightning.Callback)
    assert isinstance(LightningCosts(), lightning.Callback)
    trainer = pytorch_lightning.Trainer(
        max_epochs=1, log_every_n_steps=3, accelerator="cpu", callbacks=[LightningCosts("h100")],
        logger=pytorch_lightning.loggers.CSVLogger(tmp_path), enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Other(), batches())
    assert logged(trainer)[0]["costs/step_macs"] == 2 * 4 * 8 * 4
