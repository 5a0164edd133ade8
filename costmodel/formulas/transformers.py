"""The Transformer of torch.nn: its encoder and decoder layers, stacks of them, and the whole."""

from __future__ import annotations

from costmodel.formulas._arguments import public
from costmodel.formulas._transformer_layers import Hyper, Masks
from costmodel.formulas.cost import BlockCost
from costmodel.quantities import Count


@public
def transformer_encoder_layer(
    *,
    d_model: Count,
    nhead: Count,
    length: Count,
    dim_feedforward: Count = 2048,
    batch: Count = 1,
    activation: str = "relu",
    bias: bool = True,
    norm_first: bool = False,
    src_mask: str | None = None,
    src_mask_per_head: bool = False,
    src_key_padding_mask: str | None = None,
    is_causal: bool = False,
    training: bool = False,
    dropout_p: float = 0.1,
    batch_first: bool = False,
    batched: bool = True,
    always_copied_back: bool = False,
) -> BlockCost:
    """torch.nn.TransformerEncoderLayer: self-attention and a feed-forward network, each with a residual and a norm.

    params = 4 E^2 + 2 E F + 2 E, and 7 E + F for biases
    macs = N (4 S E^2 + 2 S^2 E + 2 S E F)

    E = d_model, F = dim_feedforward, S = length, N samples. Shapes: src (S, N, E), or (N, S, E) with ``batch_first``,
    or (S, E) with ``batched=False``, where q, k and v are projected one by one; the output's is that of src.
    ``activation`` is a name in ACTIVATIONS. Masks are None, "bool" or "float", of (S, S), or (N nhead, S, S) for each
    head, and (N, S) for padding; they, ``is_causal`` and ``always_copied_back`` are those of multi_head_attention.
    Dropout counts in training. Not covered: the fused inference path, one kernel for the whole layer.
    Source: Vaswani et al., arXiv:1706.03762, sections 3.1 to 3.3; norm_first: Xiong et al., arXiv:2002.04745, fig. 1.

    >>> transformer_encoder_layer(d_model=512, nhead=8, length=10).params                      # the paper's base model
    3152384
    >>> 4 * 512**2 + 2 * 512 * 2048 + 2 * 512 + 7 * 512 + 2048
    3152384
    """
    masks = Masks(mask=src_mask, per_head=src_mask_per_head, padding=src_key_padding_mask, is_causal=is_causal)
    return Hyper.of(locals()).encoder_layer(length, masks)


@public
def transformer_decoder_layer(
    *,
    d_model: Count,
    nhead: Count,
    length: Count,
    memory_length: Count,
    dim_feedforward: Count = 2048,
    batch: Count = 1,
    activation: str = "relu",
    bias: bool = True,
    norm_first: bool = False,
    tgt_mask: str | None = None,
    tgt_mask_per_head: bool = False,
    tgt_key_padding_mask: str | None = None,
    tgt_is_causal: bool = False,
    memory_mask: str | None = None,
    memory_mask_per_head: bool = False,
    memory_key_padding_mask: str | None = None,
    memory_is_causal: bool = False,
    training: bool = False,
    dropout_p: float = 0.1,
    batch_first: bool = False,
    batched: bool = True,
    always_copied_back: bool = False,
) -> BlockCost:
    """torch.nn.TransformerDecoderLayer: self-attention, attention to the encoder's output, a feed-forward network.

    params = 8 E^2 + 2 E F + 3 E, and 12 E + F for biases
    macs = N (6 T E^2 + 2 S E^2 + 2 T^2 E + 2 T S E + 2 T E F)

    T = length of the target, S = memory_length; all else as in transformer_encoder_layer. Shapes: tgt (T, N, E), memory
    (S, N, E), output (T, N, E). Masks of the target are (T, T), (N nhead, T, T) and (N, T), those of the memory (T, S),
    (N nhead, T, S) and (N, S).
    Source: Vaswani et al., arXiv:1706.03762, sections 3.1 to 3.3.

    >>> transformer_decoder_layer(d_model=512, nhead=8, length=10, memory_length=10).params    # the paper's base model
    4204032
    """
    own = Masks(mask=tgt_mask, per_head=tgt_mask_per_head, padding=tgt_key_padding_mask, is_causal=tgt_is_causal)
    memory = Masks(
        mask=memory_mask, per_head=memory_mask_per_head, padding=memory_key_padding_mask, is_causal=memory_is_causal
    )
    return Hyper.of(locals()).decoder_layer(length, memory_length, own, memory)


@public
def transformer_encoder(
    *,
    num_layers: Count,
    d_model: Count,
    nhead: Count,
    length: Count,
    dim_feedforward: Count = 2048,
    batch: Count = 1,
    activation: str = "relu",
    bias: bool = True,
    norm_first: bool = False,
    norm: bool = False,
    mask: str | None = None,
    mask_per_head: bool = False,
    src_key_padding_mask: str | None = None,
    is_causal: bool = False,
    detects_causal: bool = True,
    training: bool = False,
    dropout_p: float = 0.1,
    batch_first: bool = False,
    batched: bool = True,
    always_copied_back: bool = False,
) -> BlockCost:
    """torch.nn.TransformerEncoder: equal layers, one after the other, and with ``norm`` a LayerNorm behind the last.

    params = num_layers times those of transformer_encoder_layer + norm's
    macs = num_layers times those of transformer_encoder_layer

    Arguments as in transformer_encoder_layer. Bool masks are made float once, before the first layer. With
    ``detects_causal``, which is torch's default, a mask of (S, S) is compared with a causal one that is made for it;
    ``is_causal`` says what the layers are given, found or stated.
    Source: Vaswani et al., arXiv:1706.03762, section 3.1.

    >>> transformer_encoder(num_layers=6, d_model=512, nhead=8, length=10, norm=True).params == 6 * 3152384 + 2 * 512
    True
    """
    masks = Masks(mask=mask, per_head=mask_per_head, padding=src_key_padding_mask, is_causal=is_causal)
    return Hyper.of(locals()).encoder(num_layers, length, masks, detects=detects_causal, norm=norm)


@public
def transformer_decoder(
    *,
    num_layers: Count,
    d_model: Count,
    nhead: Count,
    length: Count,
    memory_length: Count,
    dim_feedforward: Count = 2048,
    batch: Count = 1,
    activation: str = "relu",
    bias: bool = True,
    norm_first: bool = False,
    norm: bool = False,
    tgt_mask: str | None = None,
    tgt_mask_per_head: bool = False,
    tgt_key_padding_mask: str | None = None,
    tgt_is_causal: bool = False,
    detects_causal: bool = True,
    memory_mask: str | None = None,
    memory_mask_per_head: bool = False,
    memory_key_padding_mask: str | None = None,
    memory_is_causal: bool = False,
    training: bool = False,
    dropout_p: float = 0.1,
    batch_first: bool = False,
    batched: bool = True,
    always_copied_back: bool = False,
) -> BlockCost:
    """torch.nn.TransformerDecoder: equal layers, one after the other, and with ``norm`` a LayerNorm behind the last.

    params = num_layers times those of transformer_decoder_layer + norm's
    macs = num_layers times those of transformer_decoder_layer

    Arguments as in transformer_decoder_layer; ``detects_causal`` as in transformer_encoder, for the target's mask.
    Source: Vaswani et al., arXiv:1706.03762, section 3.1.

    >>> transformer_decoder(num_layers=6, d_model=512, nhead=8, length=10, memory_length=10).params == 6 * 4204032
    True
    """
    own = Masks(mask=tgt_mask, per_head=tgt_mask_per_head, padding=tgt_key_padding_mask, is_causal=tgt_is_causal)
    memory = Masks(
        mask=memory_mask, per_head=memory_mask_per_head, padding=memory_key_padding_mask, is_causal=memory_is_causal
    )
    lengths = length, memory_length
    return Hyper.of(locals()).decoder(num_layers, lengths, own, memory, detects=detects_causal, norm=norm)


@public
def transformer(
    *,
    d_model: Count = 512,
    nhead: Count = 8,
    src_length: Count,
    tgt_length: Count,
    num_encoder_layers: Count = 6,
    num_decoder_layers: Count = 6,
    dim_feedforward: Count = 2048,
    batch: Count = 1,
    activation: str = "relu",
    bias: bool = True,
    norm_first: bool = False,
    src_mask: str | None = None,
    src_mask_per_head: bool = False,
    src_key_padding_mask: str | None = None,
    src_is_causal: bool = False,
    detects_src_causal: bool = True,
    tgt_mask: str | None = None,
    tgt_mask_per_head: bool = False,
    tgt_key_padding_mask: str | None = None,
    tgt_is_causal: bool = False,
    detects_tgt_causal: bool = True,
    memory_mask: str | None = None,
    memory_mask_per_head: bool = False,
    memory_key_padding_mask: str | None = None,
    memory_is_causal: bool = False,
    training: bool = False,
    dropout_p: float = 0.1,
    batch_first: bool = False,
    batched: bool = True,
    always_copied_back: bool = False,
) -> BlockCost:
    """torch.nn.Transformer: an encoder and a decoder, each with a LayerNorm behind it; no embeddings, no classifier.

    params = those of transformer_encoder + those of transformer_decoder, each with its norm
    macs = those of transformer_encoder + those of transformer_decoder

    Arguments as in transformer_encoder and transformer_decoder, whose ``length`` and ``memory_length`` are
    ``tgt_length`` and ``src_length``.
    Source: Vaswani et al., arXiv:1706.03762, section 3 and table 3, and torch, which adds a norm after each stack.

    >>> transformer(src_length=10, tgt_length=10).params                                      # the paper's base model
    44140544
    >>> 6 * (3152384 + 4204032) + 2 * 2 * 512
    44140544
    """
    source = Masks(mask=src_mask, per_head=src_mask_per_head, padding=src_key_padding_mask, is_causal=src_is_causal)
    target = Masks(mask=tgt_mask, per_head=tgt_mask_per_head, padding=tgt_key_padding_mask, is_causal=tgt_is_causal)
    memory = Masks(
        mask=memory_mask, per_head=memory_mask_per_head, padding=memory_key_padding_mask, is_causal=memory_is_causal
    )
    hyper, lengths = Hyper.of(locals()), (tgt_length, src_length)
    encoder = hyper.encoder(num_encoder_layers, src_length, source, detects=detects_src_causal, norm=True)
    decoder = hyper.decoder(num_decoder_layers, lengths, target, memory, detects=detects_tgt_causal, norm=True)
    return BlockCost(layers=(("encoder", encoder.total), ("decoder", decoder.total)))
