"""``TrainingStep``: what one training step costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.batches import batch_of, with_batch
from costmodel.capacity import bytes_of
from costmodel.cross_check import CrossCheck, check
from costmodel.graph import Graph
from costmodel.profiling import Profile
from costmodel.rendering import Report
from costmodel.step_record import PHASES, StepRecord
from costmodel.training import arithmetic, fit
from costmodel.training import layers as of_layers
from costmodel.training.check import step_check, when_trained
from costmodel.training.memory import CATEGORIES, Lifetime, Peak, curve, lifetimes
from costmodel.training.phases import profile_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.profiling.coverage import Coverage
    from costmodel.roofline import Roofline


class Forward(Profile):
    """A forward pass under autograd, where some layers run other kernels, or make something for the backward pass."""

    @cached_property
    def _checked(self) -> CrossCheck:
        return replace(check(self.pricing, when_trained), model=self.name)


@dataclass(frozen=True, eq=False, repr=False)
class TrainingStep(Report):
    """What a training step costs: forward, loss, backward and update. Every figure is an exact integer."""

    view: ClassVar[str] = "training"

    record: StepRecord
    """What ran, in which phase."""
    name: str
    """The model's name in reports."""
    again: Callable[[Any], TrainingStep] | None = field(default=None, repr=False)
    """Traces the step with other inputs; ``None`` where it was read from a file."""
    answered: tuple[fit.StepFit, ...] = ()
    """What reports say of a device and of a size of memory: see ``with_answers``."""

    def __getstate__(self) -> dict[str, Any]:
        # Neither what was computed, which is computed anew, nor the user's model, which may not be picklable.
        return {"record": self.record, "name": self.name, "again": None, "answered": self.answered}

    # -- phases -------------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The ops of all phases, and those of the very first update."""
        return self.record.graph

    @cached_property
    def whole(self) -> Profile:
        """All phases of the step as one profile, in whose table of layers each is a run of one module's ops."""
        return profile_of(self.record, PHASES, self.name)

    @cached_property
    def forward(self) -> Profile:
        """The forward pass; of several, all."""
        return profile_of(self.record, ("forward",), self.name, Forward)

    @cached_property
    def loss(self) -> Profile:
        """What makes the loss of the model's output."""
        return profile_of(self.record, ("loss",), self.name)

    @cached_property
    def backward(self) -> Profile:
        """The backward pass, with what it computes again of the forward and where gradients are added up."""
        return profile_of(self.record, ("backward",), self.name)

    @cached_property
    def update(self) -> Profile:
        """The optimizer's update of the parameters."""
        return profile_of(self.record, ("update",), self.name)

    # -- totals -------------------------------------------------------------------------------------------------------

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole step."""
        return self.whole.macs

    @property
    def flops(self) -> int:
        """Arithmetic operations of the whole step, a multiply-accumulate being two."""
        return self.whole.flops

    @property
    def memory_access(self) -> int:
        """Elements read and written, every op a kernel of its own."""
        return self.whole.memory_access

    @property
    def memory_access_bytes(self) -> int:
        """The same in bytes."""
        return self.whole.memory_access_bytes

    @property
    def params(self) -> int:
        """Elements of distinct parameters."""
        return self.forward.params

    @property
    def trainable_params(self) -> int:
        """Elements of the distinct parameters that require a gradient."""
        return self.forward.trainable_params

    @property
    def buffers(self) -> int:
        """Elements of distinct buffers."""
        return self.forward.buffers

    @cached_property
    def recomputed_macs(self) -> int:
        """Multiply-accumulates of the backward pass that compute a part of the forward again, for a checkpoint."""
        return of_layers.recomputed_macs(self.record)

    @property
    def optimizer(self) -> str:
        """The optimizer's name; ``""`` where there is no update."""
        return self.record.optimizer

    @property
    def autocast(self) -> str:
        """The dtype of autocast; ``""`` where it is off."""
        return self.record.autocast

    @property
    def steps(self) -> int:
        """Forward and backward passes whose gradients are added up before the update."""
        return self.record.steps

    @property
    def batch(self) -> int | None:
        """Samples of one forward pass; ``None`` where no input has a dimension for them."""
        return batch_of(self.record.graph)

    @property
    def execution(self) -> str:
        """How the model was read: ``meta``, without computing, or ``real``."""
        return self.record.graph.execution

    @property
    def is_exact(self) -> bool:
        """Whether every op that ran has a rule that gives its exact cost. If not, totals are lower bounds."""
        return self.whole.is_exact

    @property
    def coverage(self) -> Coverage:
        """Ops that cost something, ops that are free, ops without a rule; and where figures are lower bounds."""
        return self.whole.coverage

    # -- layers -------------------------------------------------------------------------------------------------------

    @cached_property
    def step_layers(self) -> tuple[of_layers.StepLayer, ...]:
        """The records behind the table ``layers``."""
        return of_layers.step_layers(self.record, self.forward.pricing)

    @property
    def layers(self) -> pd.DataFrame:
        """One row per layer, in the order of the forward, then what of a backward pass belongs to none."""
        return of_layers.table(self.step_layers)

    def to_pandas(self) -> pd.DataFrame:
        """The table of layers. ``costmodel.training.layers.LAYER_COLUMNS`` says what each column counts."""
        return self.layers

    def to_markdown(self, *, fold: bool = True) -> str:
        """The step as Markdown.

        With ``fold``, three and more blocks or layers in a row that differ in their names alone are one row, and one of
        them has a table of its own.
        """
        return self._render("markdown", fold=fold)

    def crosscheck(self) -> CrossCheck:
        """Compares the trace of every layer with its closed form, forward and backward."""
        return self._checked

    @cached_property
    def _checked(self) -> CrossCheck:
        found = step_check(self.record, self.forward.pricing, self.step_layers, self.coverage)
        return replace(found, model=self.name)

    # -- memory -------------------------------------------------------------------------------------------------------

    @cached_property
    def lifetimes(self) -> tuple[Lifetime, ...]:
        """Every storage, with the ops of the step between which it is live."""
        return lifetimes(self.record)

    @cached_property
    def curve(self) -> pd.DataFrame:
        """A row per op of the step: index, phase, op, module, the bytes of each category, and their total."""
        return curve(self.record, self.lifetimes)

    @cached_property
    def peak(self) -> Peak:
        """The op at which the most bytes are live."""
        return Peak.of(self.curve)

    @property
    def peak_memory(self) -> int:
        """The most bytes live at once over the step, everything included."""
        return self.peak.nbytes

    @cached_property
    def first_peak_memory(self) -> int:
        """The same of the very first step, in which the optimizer makes its state."""
        return Peak.of(curve(self.record, lifetimes(self.record, first=True), first=True)).nbytes

    @property
    def memory(self) -> pd.DataFrame:
        """One row per category: the bytes that it has at the peak."""
        import pandas as pd

        row = self.curve.iloc[self.peak.index]
        return pd.DataFrame({"category": CATEGORIES, "bytes": [int(row[category]) for category in CATEGORIES]})

    @property
    def live(self) -> tuple[Lifetime, ...]:
        """The storages live at the peak, largest first."""
        at = self.peak.index
        return tuple(sorted((x for x in self.lifetimes if x.first <= at <= x.last), key=lambda x: -x.nbytes))

    @cached_property
    def saved_bytes(self) -> int:
        """Bytes of the distinct storages that autograd keeps for the backward pass, parameters and buffers apart."""
        return of_layers.saved_bytes(self.record)

    @cached_property
    def saved_input_bytes(self) -> int:
        """How many of these are the model's own inputs."""
        return of_layers.saved_bytes(self.record, "input")

    # -- answers ------------------------------------------------------------------------------------------------------

    @property
    def flops_per_sample(self) -> float | None:
        """Arithmetic operations of the whole step for each sample."""
        return self.flops / (self.batch * self.steps) if self.batch else None

    @property
    def tokens(self) -> int | None:
        """Tokens of one forward pass: elements of the first input of integers; ``None`` where there is none."""
        return arithmetic.tokens(self)

    @property
    def flops_per_token(self) -> float | None:
        """Arithmetic operations of the whole step for each token; ``None`` where the model takes none."""
        return self.flops / (self.tokens * self.steps) if self.tokens else None

    @property
    def six_nd(self) -> arithmetic.SixND | None:
        """6 x parameters x tokens, and what leads from there to ``flops``; ``None`` where the model takes no tokens."""
        return arithmetic.six_nd(self)

    def mfu(self, seconds: float, device: str, math: str = "float32") -> float:
        """Model FLOPs utilisation: two for each MAC, none of them computed again, over what the device could do."""
        return arithmetic.utilisation(self, self.macs - self.recomputed_macs, seconds, device, math)

    def hfu(self, seconds: float, device: str, math: str = "float32") -> float:
        """Hardware FLOPs utilisation: the same with what is computed again."""
        return arithmetic.utilisation(self, self.macs, seconds, device, math)

    def roofline(self, device: str, math: str = "float32") -> Roofline:
        """A lower bound of the step's time on a device, as of ``Profile.roofline``."""
        return self.whole.roofline(device, math)

    def fits(self, memory: int | str) -> bool:
        """Whether the peak fits into so many bytes (``"24GB"``), or a device's memory."""
        return self.peak_memory <= bytes_of(memory)

    def largest_batch(self, memory: int | str) -> int:
        """The greatest batch whose peak memory fits, 0 where not even one sample does; traced at it and at the next.

        The peak may jump from one batch to the next, and is taken not to fall: of a model that takes another path for
        large batches, one beyond the next may fit again. ``memory`` is a number of bytes, a text such as ``"24GB"``, or
        a device's name.
        """
        return fit.largest_batch(self, memory)

    def with_answers(
        self,
        *,
        device: str | None = None,
        math: str = "float32",
        memory: int | str | None = None,
        seconds: float | None = None,
    ) -> TrainingStep:
        """The same, whose reports say, too, whether it fits, the largest batch, and on a device the least time.

        One that is read from a report's JSON says it no more.

        Args:
            device: its name, as for ``roofline``.
            math: how products of float32 tensors are computed on the device, as for ``roofline``.
            memory: bytes, or a text such as ``"24GB"``.
            seconds: what a step takes on the device; then with its utilisation.
        """
        asked = fit.fits(self, device=device, math=math, memory=memory, seconds=seconds)
        found = replace(self, answered=asked)
        vars(found).update(vars(self) | {"answered": asked})  # what was computed is not computed again
        return found

    def with_batch(self, batch: int) -> TrainingStep:
        """The step with another number of samples, traced anew. Raises ``InputError`` for one read from a file."""
        return fit.traced_again(self)(with_batch(self.record.graph, batch))

    # -- views --------------------------------------------------------------------------------------------------------

    def plot_memory(self, ax: Axes | None = None) -> Figure:
        """Bytes that are live while each op of the step runs, stacked by category, drawn into ``ax`` if given."""
        from costmodel.views.training import figures

        return figures.memory(self, ax)

    def plot_passes(self, ax: Axes | None = None) -> Figure:
        """MACs of forward and backward by kind of layer."""
        from costmodel.views.training import figures

        return figures.passes(self, ax)
