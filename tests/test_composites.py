"""Composites: modules of layers, derived as a whole beside them, so that their functional operations are too."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import costmodel
from costmodel import crosscheck
from costmodel.formulas import _transformer_layers as parts
from costmodel.formulas import cost
from tests._layer_types import TYPES

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")

ENCODER_LAYER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
DECODER_LAYER = nn.TransformerDecoderLayer(8, 2, 16, activation="gelu", norm_first=True)
TOKENS = (2, 5, 8)
BOTH = (TOKENS, (6, 5, 8))
COMPOSITES: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "encoder layer": (lambda: ENCODER_LAYER, TOKENS, 9),
    "no bias": (lambda: nn.TransformerEncoderLayer(8, 2, 16, activation=torch.tanh, bias=False), TOKENS, 9),
    "no batch": (lambda: nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU("tanh")), (5, 8), 10),
    "decoder layer": (lambda: DECODER_LAYER, BOTH, 12),
    "decoder layer, no batch": (lambda: nn.TransformerDecoderLayer(8, 4, 3, 0.0), ((2, 8), (6, 8)), 12),
    "encoder": (lambda: nn.TransformerEncoder(ENCODER_LAYER, 2, nn.LayerNorm(8)), TOKENS, 20),
    "decoder": (lambda: nn.TransformerDecoder(DECODER_LAYER, 3), BOTH, 37),
    "transformer": (lambda: nn.Transformer(8, 2, 1, 2, 16), BOTH, 3 + 10 + 25),
}
"""With the module calls that are derived twice: a layer's parts and itself, and so on outwards."""


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_a_transformer_is_derived_twice_with_all_that_runs_in_it(name: str, mode: Any) -> None:
    """Each part, each layer of parts and the whole agree; no operation is traced only."""
    make, inputs, calls = COMPOSITES[name]
    found = crosscheck(make(), inputs, mode=mode)
    assert (found.mismatches, found.traced_only) == ([], ())
    assert found.checked == calls


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@pytest.mark.parametrize("shape", ["one", "per head", "expanded", "causal"])
def test_masks_of_a_transformer_are_read_as_often_as_torch_does(kind: torch.dtype, shape: str) -> None:
    """By the comparison with a causal one, by what makes it float, and by each attention: whatever lies in it."""
    mask = {
        "one": torch.zeros(5, 5), "per head": torch.zeros(4, 5, 5), "expanded": torch.zeros(1, 5).expand(5, 5),
        "causal": nn.Transformer.generate_square_subsequent_mask(5),
    }[shape].to(kind)  # fmt: skip
    padding = torch.zeros(2, 5).to(kind)
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)
    x = torch.zeros(TOKENS)
    for stated in ({}, {"src_is_causal": True, "tgt_is_causal": False, "memory_is_causal": True}):
        for padded in ({}, {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}):
            call = costmodel.call(x, x, src_mask=mask, tgt_mask=mask, memory_mask=mask, **stated, **padded)
            found = crosscheck(model, call)
            assert (found.mismatches, found.traced_only) == ([], ()), (stated, padded)


def test_every_composite_is_tested() -> None:
    """A composite type in the table has a case here."""
    composites = {t for t, layer in TYPES.items() if layer.is_composite}
    assert composites == {type(make()) for make, _, _ in COMPOSITES.values()}


def test_the_layers_of_a_transformer_stay_layers() -> None:
    """A profile lists what it did: parts and functional operations, and no composite beside them."""
    p = costmodel.profile(ENCODER_LAYER, TOKENS)
    assert list(p.layers["name"]) == [
        "self_attn", "dropout1", "add", "norm1", "linear1", "relu", "dropout", "linear2", "dropout2", "add#2", "norm2",
    ]  # fmt: skip
    assert list(dict.fromkeys(p.crosscheck().rows["name"])) == [
        "TransformerEncoderLayer", "self_attn", "dropout1", "norm1", "linear1", "dropout", "linear2", "dropout2",
        "norm2",
    ]  # fmt: skip


def test_an_operation_between_the_parts_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual that the closed form forgets is found in the composite, and in no part."""
    nothing = cost.LayerCost(kind="add", output_shape=(), read=0, written=0)
    monkeypatch.setattr(parts, "add", lambda **_: nothing)
    found = crosscheck(nn.TransformerEncoder(ENCODER_LAYER, 1), TOKENS)
    elements = 2 * 5 * 8
    assert {(m.name, m.quantity, m.traced - m.closed_form) for m in found.mismatches} == {
        (name, quantity, amount)
        for name in ("TransformerEncoder", "layers.0")
        for quantity, amount in (("flops", 2 * elements), ("memory_access", 2 * 3 * elements))
    }


class OwnFeedForward(nn.TransformerEncoderLayer):
    """A method of its own, which the inherited forward calls."""

    def _ff_block(self, x: torch.Tensor) -> torch.Tensor:
        return super()._ff_block(x) * 2


def changed(change: Any) -> nn.Module:
    """An encoder layer with something else in it."""
    layer = copy.deepcopy(ENCODER_LAYER)
    change(layer)
    return layer


def tied() -> nn.Module:
    """An encoder whose two layers are one."""
    encoder = nn.TransformerEncoder(ENCODER_LAYER, 2)
    encoder.layers[1] = encoder.layers[0]
    return encoder


CHANGED: dict[str, nn.Module] = {
    "a method": OwnFeedForward(8, 2, 16),
    "a function of one's own": nn.TransformerEncoderLayer(8, 2, 16, activation=lambda x: x * 2),
    "a norm of another kind": changed(lambda m: setattr(m, "norm1", nn.RMSNorm(8))),
    "no norm": changed(lambda m: setattr(m, "norm1", nn.Identity())),
    "a norm without weights": changed(lambda m: setattr(m, "norm2", nn.LayerNorm(8, elementwise_affine=False))),
    "a bias less": changed(lambda m: setattr(m, "linear2", nn.Linear(16, 8, bias=False))),
    "a further key": changed(lambda m: setattr(m, "self_attn", nn.MultiheadAttention(8, 2, add_bias_kv=True))),
    "a hook": changed(lambda m: m.linear1.register_forward_hook(lambda _m, _x, y: y * 2)),
    "a hook before": changed(lambda m: m.linear2.register_forward_pre_hook(lambda _m, x: (x[0] * 2,))),
    "a dropout in place": changed(lambda m: setattr(m, "dropout", nn.Dropout(0.1, inplace=True))),
    "a dropout that does nothing": changed(lambda m: setattr(m, "dropout1", nn.Dropout(0.0))),
    "a pruned weight": changed(lambda m: prune.l1_unstructured(m.linear1, "weight", 0.5)),
    "a weight-normed part": changed(lambda m: nn.utils.parametrizations.weight_norm(m.linear1)),
    "a shared weight": changed(lambda m: setattr(m.norm1, "weight", m.norm2.weight)),
    "a parameter of its own": changed(lambda m: m.register_parameter("scale", nn.Parameter(torch.ones(8)))),
    "a layer that is not called": changed(lambda m: setattr(m, "spare", nn.Linear(8, 8))),
    "a pruned attention": changed(lambda m: prune.l1_unstructured(m.self_attn, "in_proj_weight", 0.5)),
    "a pruned projection": changed(lambda m: prune.l1_unstructured(m.self_attn.out_proj, "weight", 0.5)),
    "one layer twice": tied(),
}
OF_THE_STACK_ALONE = ("one layer twice",)
"""Each layer by itself is as it was."""


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", CHANGED)
def test_a_composite_that_was_changed_has_no_closed_form(name: str, mode: Any) -> None:
    """What runs between its parts is traced only, and no false alarm."""
    found = crosscheck(CHANGED[name], TOKENS, mode=mode)
    assert found.mismatches == []
    assert any(name.endswith("add") for name in found.traced_only) != (name in OF_THE_STACK_ALONE)
    assert type(CHANGED[name]).__name__ not in set(found.rows["name"])


def sharing(share: Any) -> nn.Module:
    """A transformer whose two stacks have something in common."""
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    share(model.encoder, model.decoder)
    return model


@pytest.mark.parametrize("share", [
    lambda encoder, decoder: setattr(decoder, "norm", encoder.norm),
    lambda encoder, decoder: setattr(decoder.layers[0], "self_attn", encoder.layers[0].self_attn),
    lambda encoder, decoder: setattr(decoder.layers[0].linear1, "weight", encoder.layers[0].linear1.weight),
], ids=["norm", "attention", "weight"])  # fmt: skip
def test_stacks_that_share_something_are_derived_in_parts(share: Any) -> None:
    """The parameters are held once, so no sum over the parts is right; each part by itself is compared."""
    found = crosscheck(sharing(share), (TOKENS, TOKENS))
    assert found.mismatches == []
    compared = set(found.rows["name"])
    assert "Transformer" not in compared
    assert {"encoder", "encoder.layers.0.self_attn", "decoder.layers.0.multihead_attn"} <= compared


def test_parameters_of_a_part_that_is_not_called_are_in_no_sum() -> None:
    """torch copies a decoder layer with another activation than it was made with, and keeps the module in the copy."""
    assert crosscheck(nn.Transformer(8, 2, 1, 1, 16, activation=nn.PReLU()), (TOKENS, TOKENS)).mismatches == []


def test_a_saved_transformer_is_derived_twice(tmp_path: Path) -> None:
    """JSON and pickle keep what the closed form of a composite needs."""
    p = costmodel.profile(nn.Transformer(8, 2, 1, 1, 16, batch_first=True), (TOKENS, TOKENS))
    p.save(tmp_path / "p.json")
    again = costmodel.read_json(tmp_path / "p.json"), pickle.loads(pickle.dumps(p))
    for found in (q.crosscheck() for q in again):
        # A layer's parts and itself, of the encoder 9 and of the decoder 12; two norms, two stacks and the whole.
        assert (found.checked, found.traced_only, found.mismatches) == (9 + 12 + 5, (), [])
