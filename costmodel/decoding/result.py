"""The result: what a prompt and the tokens after it cost, and what memory they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from costmodel.capacity import bytes_of, greatest
from costmodel.decoding.bounds import Bound, GenerationRoofline
from costmodel.decoding.fit import GenerationFit, fits
from costmodel.decoding.live import live_bytes
from costmodel.decoding.masks import executed_macs
from costmodel.decoding.parameters import looked_up, packed_bytes, shares
from costmodel.decoding.pieces import Numbers, Piece, additive, numbers_of, pieces, summed
from costmodel.decoding.steps import Step, Steps, windows
from costmodel.errors import InputError
from costmodel.measures import Number, named
from costmodel.rendering import Report

if TYPE_CHECKING:
    from costmodel.profiling import Profile


@dataclass(frozen=True, eq=False)
class Generation(Report):
    """What a model costs that reads a prompt and then makes tokens with its cache. Every count is an exact integer.

    The prompt's call, ``prefill``, gives the first new token. Each further one is a call with one token and the cache,
    ``decode(context)``, so ``new`` tokens take ``new - 1`` of those. The last new token is never read.
    """

    view: ClassVar[str] = "generation"

    name: str
    """The model's class, or its spec."""
    steps: Steps
    """What traces the model."""
    new: int
    """New tokens of each sample."""
    weights: str | None = None
    """How weights are packed, ``"int8"`` or ``"int4"``; ``None``: as they are."""
    answered: tuple[GenerationFit, ...] = ()
    """What reports say of a device and of a size of memory: see ``with_answers``."""

    def __getstate__(self) -> dict[str, Any]:
        # The traces that reports look at, as the model does not go along.
        _ = self.pieces, self.prefill_executed_macs, self._last_step(), self._token()
        return vars(self)

    @property
    def prompt(self) -> int:
        """Tokens of each sample's prompt."""
        return self.steps.prompt

    @property
    def batch(self) -> int:
        """Samples."""
        return self.steps.batch

    # -- traces -------------------------------------------------------------------------------------------------------

    @property
    def prefill(self) -> Profile:
        """The call with the whole prompt, from an empty cache. Of the scores it computes the last position's alone."""
        return self.steps.prefill().profile

    def decode(self, context: int) -> Profile:
        """The call with one token of each sample, with this many in the cache.

        Of an encoder-decoder they are the decoder's tokens; its encoder has read the whole prompt. Raises
        ``InputError`` for a length that the model has no positions for.
        """
        if type(context) is not int or context < 1:
            raise InputError(f"context={context!r}: give the number of tokens in the cache, an int from 1")
        require_positions(self.steps, context + 1)
        return self.steps.decode(context).profile

    @property
    def contexts(self) -> range:
        """The length of the cache at each call after the prompt's."""
        first = self.steps.begins_with
        return range(first, first + self.new - 1)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """``contexts`` in pieces within which every figure of every op is linear in the context."""
        at = _once(lambda context: self._numbers(self.steps.decode(context)))
        return tuple(pieces(self.contexts.start, self.contexts.stop - 1, at))

    def _numbers(self, step: Step) -> Numbers:
        return numbers_of(step.profile, live_bytes(step), step.cache_bytes)

    def _last_step(self) -> Step:
        return self.steps.decode(self.contexts[-1]) if self.contexts else self.steps.prefill()

    def _token(self) -> Step:
        """A call with one token: the first that there is, or would be."""
        return self.steps.decode(self.steps.begins_with)

    # -- totals -------------------------------------------------------------------------------------------------------

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the prompt and of all new tokens."""
        return self._summed("macs")

    @property
    def flops(self) -> int:
        """Arithmetic operations of the prompt and of all new tokens: 2 per multiply-accumulate, 1 for any other."""
        return self._summed("flops")

    @property
    def executed_macs(self) -> int:
        """``macs`` where attention skips what a causal mask, or one of a window, hides."""
        return self.prefill_executed_macs + self.macs - self.prefill.macs

    @cached_property
    def prefill_executed_macs(self) -> int:
        """Those of the prompt. A call with one token computes nothing that is hidden."""
        step = self.steps.prefill()
        return executed_macs(step.profile, self.steps.model, self.steps.begins_with, windows(step.cache))

    def total(self, name: str) -> Number | None:
        """The total of a measure: over all calls where it adds up over them, or else the generation's own.

        ``None`` for a measure that a generation has none of. Raises ``CostModelError`` for a name that no measure has.
        """
        named(name)
        if name in self.additive:
            return self._summed(name)
        own = {"peak_memory": "peak_memory", "params_bytes": "params_bytes", "active_params": "active_params"}
        if name in own:
            found: int = getattr(self, own[name])
            return found
        return self.prefill.total(name) if name in ("params", "buffers") else None

    @cached_property
    def additive(self) -> dict[str, int]:
        """The prompt's totals of the measures that add up over calls."""
        return additive(self.prefill)

    def _summed(self, name: str) -> int:
        return self.additive[name] + sum(piece.sum(summed(name)) for piece in self.pieces)

    @property
    def is_exact(self) -> bool:
        """Whether every op that ran has a rule that gives its exact cost. If not, totals are lower bounds."""
        return self.prefill.is_exact and self._last_step().profile.is_exact

    # -- parameters and memory ----------------------------------------------------------------------------------------

    @property
    def params(self) -> int:
        """Elements of distinct parameters."""
        return self.prefill.params

    @cached_property
    def active_params(self) -> int:
        """Elements of the parameters that one new token uses: of a mixture, those of the experts that it goes to."""
        p = self._token().profile
        of = shares(p, self.batch)
        return int(sum(parameter.size * of[parameter.storage] for parameter in p.graph.parameters().values()))

    @property
    def params_bytes(self) -> int:
        """Bytes of the parameters in the dtype asked for; with ``weights`` as they are packed."""
        return sum(self._bytes_of(self.prefill).values())

    @property
    def kv_cache_bytes(self) -> int:
        """Bytes of the model's cache at the end: keys and values, or states; all but the last token are in it."""
        return self._last_step().cache_bytes

    @property
    def peak_memory(self) -> int:
        """The most bytes that are live at once, in eager mode: parameters, buffers, the cache and all else.

        A token's cache, which is copied into a longer one, ends with its last reader. Left out: workspaces of kernels,
        the allocator's rounding, and of a sliding window one layer's old keys, which wait for the new values.
        """
        ends = (end.peak for piece in self.pieces for end in (piece.at_first, piece.at_last))
        return self._at_rest + max(max(live_bytes(self.steps.prefill()), default=0), *ends, 0)

    @property
    def _at_rest(self) -> int:
        return self.params_bytes + self.prefill.peak.buffers

    def _peak_of_ends(self) -> int:
        """The peak of the prompt and of the last token: the cache only grows."""
        steps = (self.steps.prefill(), self._last_step())
        return self._at_rest + max(max(live_bytes(step), default=0) for step in steps)

    def fits(self, memory: int | str) -> bool:
        """Whether the peak fits into a device's memory, or into so many bytes (``"24GB"``)."""
        return self.peak_memory <= bytes_of(memory)

    def largest_batch(self, memory: int | str) -> int:
        """The greatest batch that fits, confirmed by traces of it and of the next; 0 where not even one sample does."""
        return greatest(lambda batch: self._with(batch=batch)._peak_of_ends(), bytes_of(memory), self.batch)

    def largest_prompt(self, memory: int | str) -> int:
        """The greatest prompt that fits with as many new tokens, confirmed likewise; no more than learnt positions."""
        most = self.steps.learnt_positions
        size = bytes_of(memory)

        def peak(prompt: int) -> int:
            if most is not None and prompt + self.new - 1 > most:
                return size + prompt  # no such position: as if it did not fit
            return self._with(prompt=prompt)._peak_of_ends()

        return greatest(peak, size, self.prompt)

    def _with(self, *, prompt: int | None = None, batch: int | None = None) -> Generation:
        return replace(self, steps=self.steps.other(prompt or self.prompt, batch or self.batch), answered=())

    @cached_property
    def dtype(self) -> str:
        """The dtype of most parameters, in which products are computed."""
        sizes: dict[str, int] = {}
        for parameter in self.prefill.graph.parameters().values():
            sizes[parameter.dtype] = sizes.get(parameter.dtype, 0) + parameter.size
        return max(sizes, key=sizes.__getitem__, default="float32")

    def _bytes_of(self, p: Profile) -> dict[int, int]:
        """Bytes of each parameter, by its storage in a trace."""
        parameters = p.graph.parameters().values()
        if self.weights is None:
            return {parameter.storage: parameter.nbytes for parameter in parameters}
        heads = frozenset(parameter.storage for parameter in parameters if parameter.name in self.steps.heads)
        return packed_bytes(p, self.weights, heads)

    def with_answers(self, *, device: str | None = None, memory: int | str | None = None) -> Generation:
        """The same, whose reports say, too, what fits into a memory, and on a device the least times.

        Args:
            device: its name, as for ``roofline``.
            memory: bytes, or a text such as ``"24GB"``.
        """
        found = replace(self, answered=fits(self, device, memory))
        vars(found).update(vars(self) | {"answered": found.answered})  # what was computed is not computed again
        return found

    # -- time ---------------------------------------------------------------------------------------------------------

    def roofline(self, device: str) -> GenerationRoofline:
        """The least time to the first token and for each one after it, whatever software runs the model.

        Args:
            device: one of ``costmodel.devices.device_names()``, or a file with one of your own.
        """
        from costmodel.devices import device as of_name

        on = of_name(device)
        token, prompt = self._token(), self.steps.prefill()
        count = max(len(self.contexts), 1)
        numbers = self.pieces or (Piece(0, 0, *(2 * (self._numbers(token),))),)
        decode = Bound(
            flops=2 * sum(piece.sum(summed("macs")) for piece in numbers) / count,
            weight_bytes=self._weight_bytes(token.profile, self.batch),
            cache_bytes=sum(piece.sum(lambda n: n.cache_bytes) for piece in numbers) / count,
            device=on,
            dtype=self.dtype,
        )
        prefill = Bound(
            flops=2 * self.prefill_executed_macs,
            weight_bytes=self._weight_bytes(prompt.profile, self.batch * self.steps.begins_with),
            cache_bytes=prompt.cache_bytes,
            device=on,
            dtype=self.dtype,
        )
        return GenerationRoofline(self.name, on, self.dtype, self.batch, self.new, prefill, decode)

    def _weight_bytes(self, p: Profile, tokens: int) -> float:
        rows, share = looked_up(p), shares(p, tokens)
        return float(sum(min(rows.get(at, n), n) * share[at] for at, n in self._bytes_of(p).items()))

    def __repr__(self) -> str:
        figures = f"prompt={self.prompt:,}, new={self.new:,}, batch={self.batch:,}, macs={self.macs:,}"
        return f"<Generation of {self.name}: {figures}>"


def _once(function: Callable[[int], Numbers]) -> Callable[[int], Numbers]:
    known: dict[int, Numbers] = {}

    def at(context: int) -> Numbers:
        if context not in known:
            known[context] = function(context)
        return known[context]

    return at


def require_positions(steps: Steps, tokens: int) -> None:
    """Raises ``InputError`` for more tokens than a model has learnt positions for."""
    most = steps.learnt_positions
    if most is not None and tokens > most:
        raise InputError(
            f"{steps.type} has an embedding for each of {most:,} positions, and there would be "
            f"{tokens:,} tokens: its prompt and its new tokens but the last are at most {most:,} together"
        )
