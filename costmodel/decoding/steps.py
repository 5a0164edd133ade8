"""Traces of a model with its own cache: of a whole prompt, and of one token after so many."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MethodType
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.graph import tensors_in
from costmodel.inputs import Input
from costmodel.profiling import Profile, profile

if TYPE_CHECKING:
    from torch import nn

CACHES = ("cache", "past_key_values", "cache_params")
"""What forwards call the cache, the newest name first: of several that a model takes, that one."""

_SHORT = 8
"""A length at which a cache that grows with every token is another than after one more."""

_LENGTHS = ("max_position_embeddings", "max_target_positions", "n_positions", "n_ctx")
"""What configurations call the number of positions that a model is made for."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of the model with its cache."""

    profile: Profile
    cache: Any
    """The model's cache after it."""
    cache_bytes: int
    """What the cache takes after it: distinct tensors, the encoder's part included."""
    replaced: frozenset[int]
    """The storages of the given cache to which the cache does not refer at the end, having a longer tensor instead."""
    held: tuple[int, ...]
    """For each tensor of the cache after it the bytes that it keeps alive: a view those of all that it is a view of."""
    given: Mapping[int, int]
    """The same of the cache before it, by the storages of its tensors in this trace."""
    encoded: Any = None
    """What an encoder-decoder's encoder made of the prompt."""


class Steps:
    """Traces prompts and tokens of one model, each once.

    A decoder reads the prompt itself. Of an encoder-decoder the encoder reads it, where it reads text, and the decoder
    begins with one token; where it reads sound or an image, of the model's own size, the decoder begins with the
    prompt.
    """

    def __init__(self, model: nn.Module, *, prompt: int, batch: int) -> None:
        self._model: nn.Module | None = model
        self.type, self.prompt, self.batch = type(model).__name__, prompt, batch
        takes = inspect.signature(model.forward).parameters
        self._cache = next(name for name in CACHES if name in takes)
        self.scores_last = "logits_to_keep" in takes
        """Whether of a prompt only the last position's scores are computed, as transformers' ``generate`` does."""
        config = getattr(model, "config", None)
        self.has_encoder = bool(getattr(config, "is_encoder_decoder", False))
        self._reads_text = getattr(model, "main_input_name", "input_ids") == "input_ids"
        self._known: dict[tuple[str, int], Step] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Neither the user's model, which may not be picklable, nor the caches, whose tensors only a trace has.
        _ = self.heads, self.learnt_positions
        known = {what: replace(step, cache=None, encoded=None) for what, step in self._known.items()}
        return {**vars(self), "_model": None, "_known": known}

    @property
    def model(self) -> nn.Module:
        """The model. Raises ``InputError`` where it is not there any more."""
        if self._model is None:
            raise InputError(
                "this generation was pickled or copied, without its model, which a call that was not traced before "
                "needs: make it anew by costmodel.generation"
            )
        return self._model

    def other(self, prompt: int, batch: int) -> Steps:
        """The same model with another prompt or batch."""
        return Steps(self.model, prompt=prompt, batch=batch)

    @cached_property
    def heads(self) -> frozenset[str]:
        """The names of the weights that scores are computed with."""
        head = getattr(self.model, "get_output_embeddings", lambda: None)()
        held = set() if head is None else {id(parameter) for parameter in head.parameters()}
        return frozenset(name for name, parameter in self.model.named_parameters() if id(parameter) in held)

    @property
    def begins_with(self) -> int:
        """The tokens that the decoder is given before it makes its first."""
        return 1 if self.has_encoder and self._reads_text else self.prompt

    @cached_property
    def positions(self) -> int | None:
        """The tokens that the decoder is made for, where its configuration says so."""
        config = getattr(self.model, "config", None)
        text = config if config is None else getattr(config, "get_text_config", lambda **_: config)()
        found = (getattr(text, name, None) for name in _LENGTHS)
        return next((size for size in found if isinstance(size, int) and size > 0), None)

    @cached_property
    def learnt_positions(self) -> int | None:
        """How many positions have an embedding of their own, without which there is no token at them."""
        if self.positions is None:
            return None
        for name, module in self.model.named_modules():
            rows = getattr(module, "num_embeddings", 0)  # OPT's table has two rows more
            is_of_positions = (
                "pos" in name.rpartition(".")[2] or name.endswith("wpe")
            ) and "encoder" not in name.split(".")
            if is_of_positions and self.positions <= rows <= self.positions + 2:
                return self.positions
        return None

    def prefill(self, length: int | None = None) -> Step:
        """The prompt; or another number of tokens at once, in its place."""
        length = self.begins_with if length is None else length
        key = ("prefill", length)
        if key not in self._known:
            self._known[key] = self._prompt_of(length)
        return self._known[key]

    def decode(self, context: int) -> Step:
        """One more token, with a cache of so many."""
        key = ("decode", context)
        if key not in self._known:
            self._known[key] = self._token_after(self._after(context), f"a token after {context:,}")
        return self._known[key]

    def _after(self, context: int) -> Step:
        """A call that leaves a cache of this length."""
        if ("decode", context - 1) in self._known:
            return self._known["decode", context - 1]
        if context == self.begins_with or (context <= _SHORT and context < self.begins_with):
            return self.prefill(context)
        if self._is_state:
            return self.prefill(_SHORT + 1)
        at_once = self._prompt_of(context)
        own = (tensor.nbytes for tensor in _tensors(at_once.cache))
        if context < self.begins_with or all(a <= b for a, b in zip(at_once.held, own, strict=True)):
            return at_once
        # The last tokens of a window are a view of all that came with them, which here is one token.
        return self._token_after(self._prompt_of(context - 1), "the token before")

    def _token_after(self, before: Step, what: str) -> Step:
        given = {**self._tokens(1), self._cache: before.cache}
        if self.has_encoder:
            given["encoder_outputs"] = (self.prefill().encoded,)
        return self._run(given, what, before.held)

    def _prompt_of(self, length: int) -> Step:
        return self._run({**self._encoder_inputs, **self._tokens(length)}, f"{length:,} tokens")

    @cached_property
    def _is_state(self) -> bool:
        """Whether the cache is a state of one size, as of a state-space model, however many tokens it has seen."""
        if any(getattr(layer, "keys", None) is not None for layer in _layers(self.prefill().cache)):
            return False
        return _shapes(self.prefill(_SHORT).cache) == _shapes(self.prefill(_SHORT + 1).cache)

    @cached_property
    def _encoder_inputs(self) -> dict[str, Any]:
        if not self.has_encoder:
            return {}
        if self._reads_text:
            return {"input_ids": Input((self.batch, self.prompt), "int64")}
        from costmodel.default_inputs import default_inputs
        from costmodel.trace import outputs_of

        name = str(self.model.main_input_name)
        given = default_inputs(self.model, outputs_of)[name]
        shape = given.shape if isinstance(given, Input) else given
        return {name: (self.batch, *shape[1:])}

    def _tokens(self, count: int) -> dict[str, Any]:
        name = "decoder_input_ids" if self.has_encoder else "input_ids"
        last = {"logits_to_keep": 1} if self.scores_last else {}
        return {name: Input((self.batch, count), "int64"), "use_cache": True, **last}

    def _run(self, given: Mapping[str, Any], what: str, held: Sequence[int] = ()) -> Step:
        made: list[tuple[Any, Any, list[bool]]] = []
        cache_name = self._cache

        def step(model: nn.Module, **arguments: Any) -> Any:
            before = _tensors(arguments.get(cache_name))
            outputs = model(**arguments)
            named = outputs if isinstance(outputs, Mapping) else {}
            cache = next((named[name] for name in CACHES if name in named), None)
            if cache is None:
                raise InputError(f"{type(model).__name__} returns no cache, though it takes {cache_name!r}")
            held = {id(tensor) for tensor in _tensors(cache)}
            made.append((cache, named.get("encoder_last_hidden_state"), [id(tensor) not in held for tensor in before]))
            return outputs, _tensors(cache)

        p = profile(MethodType(step, self.model), dict(given))
        cache, encoded, is_replaced = made[-1]
        p.graph.outputs, kept = p.graph.outputs
        storages = p.graph.storages
        # Of tensors that share one, the first has its bytes.
        firsts = [spec.storage not in {other.storage for other in kept[:i]} for i, spec in enumerate(kept)]
        sizes = (storages[spec.storage].nbytes * first for spec, first in zip(kept, firsts, strict=True))
        specs = list(tensors_in(p.graph.kwargs.get(cache_name, ())))
        return Step(
            profile=Profile(p.graph, f"{type(self.model).__name__}, {what}"),
            cache=cache,
            cache_bytes=_bytes(cache),
            replaced=frozenset(spec.storage for spec, gone in zip(specs, is_replaced, strict=True) if gone),
            held=tuple(sizes),
            given={spec.storage: nbytes for spec, nbytes in zip(specs, held, strict=True)},
            encoded=encoded,
        )


def _tensors(cache: Any) -> list[Any]:
    """The tensors that a cache holds: an object, or nested tuples."""
    from costmodel.trace.inputs import record_of

    found = record_of(cache)
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, (tuple, list)):
        return [tensor for item in found for tensor in _tensors(item)]
    return [found] if hasattr(found, "nbytes") else []


def _shapes(cache: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in _tensors(cache)]


def _bytes(cache: Any) -> int:
    """Bytes of the distinct tensors of numbers; a view counts as what it shows."""
    return sum(tensor.nbytes for tensor in _tensors(cache) if tensor.dim())


def _layers(cache: Any) -> Sequence[Any]:
    """The layers of a cache; of an encoder-decoder's those of its decoder."""
    found: Sequence[Any] = getattr(getattr(cache, "self_attention_cache", cache), "layers", ())
    return found


def windows(cache: Any) -> list[int | None]:
    """For each layer how many tokens attention sees, where the cache keeps no more; ``None`` for all."""
    sizes = (getattr(layer, "sliding_window", None) for layer in _layers(cache))
    return [size if isinstance(size, int) else None for size in sizes]
