"""The least time that a device needs for a prompt, and for each token after it.

A call that computes F FLOPs in matrix products and must move Q bytes needs at least max(F / peak, Q / bandwidth).
Counted are the products that no mask hides, and of the memory what any kernel must read: each weight that the call
uses, once, and the cache. What lies between (activations, scores) may stay on the chip. Of a mixture of experts those
that one token uses are read: all tokens may go to the same ones. So both are bounds, whatever software runs the model.

Source: Williams, Waterman & Patterson, Roofline, Communications of the ACM 52 (2009); Pope et al., Efficiently Scaling
Transformer Inference, arXiv:2211.05102.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

from costmodel.devices import Device
from costmodel.rendering import Rendered


@dataclass(frozen=True)
class Bound:
    """The least time of a call of the model."""

    flops: float
    """Two for each multiply-accumulate that no mask hides."""
    weight_bytes: float
    """Bytes of weights that are read."""
    cache_bytes: float
    """Bytes of the cache that are read or written."""
    device: Device
    dtype: str

    @property
    def nbytes(self) -> float:
        """Bytes to and from memory."""
        return self.weight_bytes + self.cache_bytes

    @property
    def compute(self) -> float:
        """Seconds of arithmetic."""
        return self.flops / self.device.rate(self.dtype)

    @property
    def memory(self) -> float:
        """Seconds of moving bytes."""
        return self.nbytes / self.device.bandwidth

    @property
    def time(self) -> float:
        """Seconds, at least."""
        return max(self.compute, self.memory)

    @property
    def bound(self) -> Literal["compute", "memory"]:
        """Which of the two limits it."""
        return "compute" if self.compute > self.memory else "memory"

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.nbytes if self.nbytes else 0.0


@dataclass(frozen=True, repr=False)
class GenerationRoofline(Rendered):
    """A generation on a device: the least time to the first token, and for each one after it."""

    view: ClassVar[str] = "generation roofline"

    model: str
    device: Device
    dtype: str
    """Of products."""
    batch: int
    new: int
    prefill: Bound
    decode: Bound
    """Of one token of each sample: the mean over all new ones after the first."""

    @property
    def first_token(self) -> float:
        """Seconds to the first token, at least."""
        return self.prefill.time

    @property
    def per_token(self) -> float:
        """Seconds for each token after the first, at least."""
        return self.decode.time

    @property
    def tokens_per_second(self) -> float:
        """New tokens of all samples in a second of decoding, at most."""
        return self.batch / self.per_token

    @property
    def time(self) -> float:
        """Seconds of the whole generation, at least."""
        return self.first_token + (self.new - 1) * self.per_token

    @property
    def ridge(self) -> float:
        """FLOPs per byte at which computing takes as long as moving the data."""
        return self.device.ridge(self.dtype)

    @property
    def ridge_batch(self) -> int | None:
        """The batch from which decoding waits for arithmetic; ``None`` where the cache makes it wait for memory always.

        With more samples the same weights are read, and more of the cache.
        """
        gained = self.decode.flops / self.batch / self.ridge - self.decode.cache_bytes / self.batch
        return ceil(self.decode.weight_bytes / gained) if gained > 0 else None
