"""The layers of a Transformer, composed of the formulas of their parts; ``transformer.py`` has the public formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from costmodel.formulas._arguments import require, require_one_of
from costmodel.formulas.activations import ACTIVATIONS
from costmodel.formulas.activations import activation as activation_of
from costmodel.formulas.attention import mask_filled, multi_head_attention
from costmodel.formulas.cost import BlockCost, LayerCost, as_one
from costmodel.formulas.elementwise import add, dropout, pointwise_kernel
from costmodel.formulas.normalisation import layer_norm
from costmodel.formulas.products import linear
from costmodel.quantities import Count, Work, prod
from costmodel.records import dataclass

Named = Iterator[tuple[str, LayerCost]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """What one attention is given besides its sequences."""

    mask: str | None
    per_head: bool
    padding: str | None
    is_causal: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyper:
    """What all layers of a Transformer have in common."""

    d_model: Count
    nhead: Count
    dim_feedforward: Count
    activation: str
    bias: bool
    norm_first: bool
    batch: Count
    batch_first: bool
    batched: bool
    training: bool
    dropout_p: float
    always_copied_back: bool

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Hyper:
        """Those among the arguments of a formula."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    def __post_init__(self) -> None:
        require(d_model=self.d_model, nhead=self.nhead, dim_feedforward=self.dim_feedforward, batch=self.batch)
        require_one_of(activation=self.activation, choices=tuple(ACTIVATIONS))
        if not self.batched and not (isinstance(self.batch, int) and self.batch == 1):
            raise ValueError(f"batch={self.batch} with batched=False: without a batch dimension there is one sample")

    def shape(self, length: Count, width: Count | None = None) -> tuple[Count, ...]:
        """Of a sequence."""
        rows = (self.batch, length) if self.batch_first else (length, self.batch)
        return (*(rows if self.batched else (length,)), self.d_model if width is None else width)

    def norm(self, length: Count) -> LayerCost:
        """Layer normalisation of a sequence."""
        return layer_norm(normalized_shape=self.d_model, rows=self.shape(length)[:-1], bias=self.bias)

    def dropout(self, shape: tuple[Count, ...]) -> LayerCost:
        """Dropout of a tensor."""
        return dropout(shape=shape, training=self.training, p=self.dropout_p)

    def attention(self, queries: Count, keys: Count, *, inputs: str, masks: Masks) -> LayerCost:
        """Multi-head attention whose weights nobody asks for."""
        cost = multi_head_attention(
            embed_dim=self.d_model, num_heads=self.nhead, queries=queries, keys=keys, batch=self.batch,
            # Without a batch dimension each tensor gets one by itself, which hides that they are the same.
            inputs=inputs if self.batched else "distinct",
            bias=self.bias, need_weights=False, attn_mask=masks.mask, attn_mask_per_head=masks.per_head,
            key_padding_mask=masks.padding, is_causal=masks.is_causal, training=self.training,
            dropout_p=self.dropout_p,
            # The fused kernels keep the query's layout; dropout is what they cannot do.
            transposed_output=not (self.training and self.dropout_p > 0), always_copied_back=self.always_copied_back,
        )  # fmt: skip
        return replace(cost, output_shape=self.shape(queries))

    def feed_forward(self, length: Count) -> Named:
        """linear2(dropout(activation(linear1(x))))."""
        hidden = self.shape(length, self.dim_feedforward)
        rows, wide, narrow = hidden[:-1], self.dim_feedforward, self.d_model
        yield "linear1", linear(in_features=narrow, out_features=wide, bias=self.bias, rows=rows)
        yield "activation", activation_of(name=self.activation, shape=hidden)
        yield "dropout", self.dropout(hidden)
        yield "linear2", linear(in_features=wide, out_features=narrow, bias=self.bias, rows=rows)

    def sublayer(self, number: int, length: Count, *body: tuple[str, LayerCost]) -> Named:
        """The norm of x + body(x), or with ``norm_first`` x + body(the norm of x)."""
        norm = (f"norm{number}", self.norm(length))
        if self.norm_first:
            yield norm
        yield from body
        yield f"dropout{number}", self.dropout(self.shape(length))
        yield f"add{number}", add(shape=self.shape(length))
        if not self.norm_first:
            yield norm

    def encoder_layer(self, length: Count, masks: Masks) -> BlockCost:
        """Self-attention, then the feed-forward network."""
        attention = self.attention(length, length, inputs="self", masks=masks)
        first = self.sublayer(1, length, ("self_attn", attention))
        return BlockCost(layers=(*first, *self.sublayer(2, length, *self.feed_forward(length))))

    def decoder_layer(self, length: Count, memory_length: Count, masks: Masks, memory_masks: Masks) -> BlockCost:
        """Self-attention, attention to the memory, then the feed-forward network."""
        own = self.attention(length, length, inputs="self", masks=masks)
        across = self.attention(length, memory_length, inputs="shared_key_value", masks=memory_masks)
        first = self.sublayer(1, length, ("self_attn", own))
        second = self.sublayer(2, length, ("multihead_attn", across))
        return BlockCost(layers=(*first, *second, *self.sublayer(3, length, *self.feed_forward(length))))

    def encoder(self, num_layers: Count, length: Count, masks: Masks, *, detects: bool, norm: bool) -> BlockCost:
        """Bool masks are made float once, for all layers."""
        made: list[tuple[str, LayerCost]] = []
        if masks.mask == "bool":
            shape = (self.batch * self.nhead, length, length) if masks.per_head else (length, length)
            made.append(("mask", as_one("attention", *mask_filled(shape))))
            masks = replace(masks, mask="float")
        if masks.padding == "bool":
            made.append(("key_padding_mask", as_one("attention", *mask_filled((self.batch, length)))))
            masks = replace(masks, padding="float")
        layer = self.encoder_layer(length, masks)
        found = _detection(length, masks) if detects else ()
        return BlockCost(layers=(*made, *found, *self._stack(layer, num_layers, length, norm=norm)))

    def decoder(
        self, num_layers: Count, lengths: tuple[Count, Count], masks: Masks, memory_masks: Masks, *,
        detects: bool, norm: bool,
    ) -> BlockCost:  # fmt: skip
        """Each layer makes bool masks float for itself."""
        layer = self.decoder_layer(*lengths, masks, memory_masks)
        found = _detection(lengths[0], masks) if detects else ()
        return BlockCost(layers=(*found, *self._stack(layer, num_layers, lengths[0], norm=norm)))

    def _stack(self, layer: BlockCost, num_layers: Count, length: Count, *, norm: bool) -> Named:
        require(num_layers=num_layers)
        yield "layers", layer.total.times(num_layers)
        if norm:
            yield "norm", self.norm(length)


def _detection(length: Count, masks: Masks) -> Named:
    """A causal mask is made, by a fill and a copy of its triangle, and compared with the one that was given."""
    if masks.mask is None:
        return
    square, elements = (length, length), prod((length, length))
    steps = [pointwise_kernel("other", square, reads=0), pointwise_kernel("other", square, reads=elements)]
    if not masks.per_head:  # else the shapes differ, and no element is looked at
        steps.append(pointwise_kernel("other", square, per_element=Work(compares=1), reads=2 * elements))
        steps.append(pointwise_kernel("other", (), reads=elements))  # whether all of them are equal
        steps.append(pointwise_kernel("other", (), reads=1, writes=0))  # which Python reads
    yield "is_causal", as_one("other", *steps)
