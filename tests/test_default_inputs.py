from __future__ import annotations

from typing import Any

import pytest
import torch

import costmodel
from costmodel.errors import InputError

TEXT = [(1, 128)]


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("xlnet", TEXT),  # whose number of positions is -1: any
        ("bros(num_hidden_layers=1, vocab_size=100)", [*TEXT, (1, 128, 8)]),
        ("lxmert", [*TEXT, (1, 36, 4), (1, 36, 2048)]),
        # images and videos
        ("vilt(num_hidden_layers=1, vocab_size=100)", [(1, 40), (1, 3, 384, 384)]),
        ("videomae", [(1, 16, 3, 224, 224)]),
        ("timesformer", [(1, 8, 3, 224, 224)]),
        ("vivit", [(1, 32, 3, 224, 224)]),
        ("sam2", [(1, 3, 1024, 1024)]),
        ("perceiver(num_blocks=1, num_self_attends_per_block=1, num_latents=8)", [(1, 2048, 768)]),
        ("qwen2_5_vl_vision", [(256, 3 * 2 * 14 * 14), (1, 3)]),
        # sound
        ("audio-spectrogram-transformer", [(1, 1024, 128)]),
        ("dac", [(1, 1, 15872)]),
        ("speech_to_text", [(1, 1000, 80), (1, 128)]),
        ("wav2vec2-bert", [(1, 1000, 160)]),
        # series
        ("decision_transformer", [(1, 20), (1, 20), (1, 20, 1), (1, 20, 1), (1, 20, 4), (1, 20, 17)]),
        ("patchtst", [(1, 32, 1)]),
    ],
)
def test_types_of_transformers_get_inputs_that_fit(spec: str, given: list[tuple[int, ...]]) -> None:
    """The sizes are those of the type's own configuration, in the layout that its forward documents."""
    pytest.importorskip("transformers")
    p = costmodel.profile(f"hf:{spec}")
    assert sorted(t.shape for t in p.inputs) == sorted(given)
    assert p.macs > 0


TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 2}
PARTS = {"model_type": "llama", "num_key_value_heads": 2, "vocab_size": 100} | TOWER
VISION = {"model_type": "clip_vision_model", "image_size": 64, "patch_size": 32, "projection_dim": 32} | TOWER


def test_as_many_tokens_as_an_image_has_features() -> None:
    """LLaVA has a token for each patch of the image, beside 128 of text; the text's layers see all of them."""
    pytest.importorskip("transformers")
    spec = f"hf:llava(text_config={PARTS}, vision_config={VISION}, image_token_id=99)"
    p = costmodel.profile(spec)
    assert sorted(t.shape for t in p.inputs) == [(1, 3, 64, 64), (1, 128 + 4)]
    rows = p.layers.set_index("name")["input_shape"]
    assert rows["language_model.layers.0.mlp.up_proj"] == (1, 132, 32)


def test_parts_that_do_not_fit_each_other() -> None:
    """Where an image's features are not as wide as the text's, as in some default configurations, text runs alone."""
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model("qwen2_vl")
    assert config.text_config.hidden_size != config.vision_config.hidden_size
    p = costmodel.profile(costmodel.load("hf:qwen2_vl", weights=False))
    assert [t.shape for t in p.inputs] == TEXT


def test_what_is_not_known_is_named() -> None:
    """The error says which argument is missing, and how it is passed."""
    pytest.importorskip("transformers")
    model = costmodel.load("hf:sam2_video", weights=False)
    with pytest.raises(InputError, match=r"takes inference_session, .* pass inputs"):
        costmodel.profile(model)


@pytest.mark.parametrize(
    ("spec", "inputs"),
    [
        ("fasterrcnn_mobilenet_v3_large_fpn", ([(3, 800, 800)],)),
        ("raft_small", ((1, 3, 520, 960), (1, 3, 520, 960))),
        ("lraspp_mobilenet_v3_large", (1, 3, 520, 520)),
        ("vit_h_14", (1, 3, 224, 224)),
        ("mvit_v1_b", (1, 3, 16, 224, 224)),
        ("maxvit_t", (1, 3, 224, 224)),
    ],
)
def test_families_of_torchvision(spec: str, inputs: Any) -> None:
    """Each family's layout, at the size that its own references evaluate."""
    pytest.importorskip("torchvision.models")
    assert costmodel.load(f"torchvision:{spec}", weights=False).example_inputs == inputs


def test_values_are_given_where_a_forward_reads_them() -> None:
    """The grid of an image's patches is a tensor with values, also beside a model without any."""
    pytest.importorskip("transformers")
    from costmodel.default_inputs import default_inputs
    from costmodel.trace import outputs_of

    given = default_inputs(costmodel.load("hf:qwen2_5_vl_vision", weights=False), outputs_of)
    assert given["grid_thw"].tolist() == [[1, 16, 16]]
    assert given["hidden_states"] == (256, 1176)
    assert given["grid_thw"].device == torch.device("cpu")
