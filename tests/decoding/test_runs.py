"""Small models that generate for real, by torch's own counter, allocator and tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from tests import live_memory
from tests.decoding.networks import SMALL, small

pytest.importorskip("transformers")

PROMPT, NEW, BATCH = 10, 8, 2


def generate(model: Any, prompt: int = PROMPT, new: int = NEW, batch: int = BATCH) -> Any:
    """Runs a model as ``generate`` does, and returns its cache."""
    taken = inspect.signature(model.forward).parameters
    named = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
    reads = {}
    name = "input_ids"
    if model.config.is_encoder_decoder:
        name = "decoder_input_ids"
        if model.main_input_name == "input_ids":
            reads, prompt = {"input_ids": torch.zeros(batch, prompt, dtype=torch.int64)}, 1
        else:
            frames = 2 * model.config.max_source_positions
            reads = {"input_features": torch.zeros(batch, model.config.num_mel_bins, frames)}
    cache_name = next(n for n in ("cache", "past_key_values", "cache_params") if n in taken)
    with torch.no_grad():
        out = model(**reads, **{name: torch.zeros(batch, prompt, dtype=torch.int64)}, use_cache=True, **named)
        cache, encoded = out[cache_name], out.get("encoder_last_hidden_state")
        del out
        for _ in range(new - 1):
            if encoded is not None:
                reads = {"encoder_outputs": (encoded,)}
            ids = {name: torch.zeros(batch, 1, dtype=torch.int64)}
            out = model(**reads, **ids, **{cache_name: cache}, use_cache=True, **named)
            cache = out[cache_name]
            del out
    return cache


def tensors_of(held: Any, seen: set[int]) -> list[torch.Tensor]:
    """The tensors of at least one dimension in an object, found by walking its attributes."""
    if id(held) in seen:
        return []
    seen.add(id(held))
    if isinstance(held, torch.Tensor):
        return [held] if held.dim() else []
    items: Any = ()
    if isinstance(held, dict):
        items = held.values()
    elif isinstance(held, (list, tuple)):
        items = held
    elif hasattr(held, "__dict__"):
        items = vars(held).values()
    return [tensor for item in items for tensor in tensors_of(item, seen)]


@pytest.mark.parametrize("name", SMALL)
def test_a_real_generation_computes_and_keeps_as_much(name: str) -> None:
    """Two FLOPs for each MAC of prompt and all new tokens, as torch counts them; the bytes of the cache's tensors."""
    model = small(name)
    g = costmodel.generation(model, prompt=PROMPT, new=NEW, batch=BATCH)
    if "mixture" in name:
        model.set_experts_implementation("eager")  # torch has no count for grouped_mm: each expert by itself
    # torch 2.13 has no count for its fused attention on a CPU: attention as two products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        cache = generate(model)
    assert counter.get_total_flops() == 2 * g.macs
    assert g.kv_cache_bytes == sum(tensor.nbytes for tensor in tensors_of(cache, set()))


def peak(run: Callable[[], object]) -> int:
    """The most bytes that a run holds at once, by torch's allocator."""
    found = live_memory.allocations(run, numbers=False)
    moments = sorted({a.begin for a in found})
    return max(sum(a.nbytes for a in found if a.begin <= t and (a.end is None or a.end > t)) for t in moments)


@pytest.mark.parametrize("name", ["llama", "learnt positions"])
@pytest.mark.parametrize(("prompt", "new"), [(PROMPT, 1), (2, 40)])
@pytest.mark.usefixtures("one_thread")
def test_the_peak_is_the_allocators(name: str, prompt: int, new: int) -> None:
    """Beside weights and buffers, as many bytes as the allocator holds at once over prompt and tokens.

    With a short prompt and many tokens the peak is in a call that makes longer tensors of the cache.
    """
    model = small(name)
    generate(model, new=2)  # what is made once
    g = costmodel.generation(model, prompt=prompt, new=new, batch=BATCH)
    held = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    assert g.peak_memory - held == peak(lambda: generate(model, prompt=prompt, new=new))


@pytest.mark.usefixtures("one_thread")
def test_the_peak_of_a_window_lacks_one_layers_keys() -> None:
    """The allocator holds the old keys of a window until the new values are there: 2 x 2 heads x 12 x 16 x 4 bytes."""
    model = small("sliding window")
    generate(model, new=2)
    g = costmodel.generation(model, prompt=2, new=40, batch=BATCH)
    held = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    assert g.peak_memory - held == peak(lambda: generate(model, prompt=2, new=40)) - 2 * 2 * 12 * 16 * 4


@pytest.mark.parametrize("name", ["llama", "alternating windows", "mixture", "encoder-decoder", "state space"])
def test_every_total_is_the_sum_of_its_calls(name: str) -> None:
    """Each token traced by itself, over a window's bend: every total that adds up, and the peak."""
    model = small(name)
    g = costmodel.generation(model, prompt=5, new=19, batch=BATCH)
    calls = [g.prefill, *(g.decode(context) for context in g.contexts)]
    assert len(calls) == 19
    for quantity in ("macs", "flops", "memory_access", "memory_access_bytes", "activations"):
        assert g.total(quantity) == sum(int(call.total(quantity) or 0) for call in calls), quantity


def test_a_model_is_as_it_was() -> None:
    """Its parameters are the same objects on the same device, in its mode, and it computes what it did."""
    model = small("llama").train()
    before = {name: (id(p), p.device, p.dtype) for name, p in model.named_parameters()}
    ids = torch.arange(6)[None]
    with torch.no_grad():
        scores = model(ids).logits
    for dtype in (None, "bfloat16"):
        assert costmodel.generation(model, prompt=4, new=3, dtype=dtype).macs > 0
    assert model.training
    assert {name: (id(p), p.device, p.dtype) for name, p in model.named_parameters()} == before
    with torch.no_grad():
        assert torch.equal(model(ids).logits, scores)
