"""Models and numbers that make no generation, and what is said of them; whether it fits; the least times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import costmodel
from costmodel.cli import main
from costmodel.errors import InputError, LoadError
from tests.decoding.networks import LLAMA_3_8B, Tiny, small, spec


@pytest.mark.parametrize("name", ["prompt", "new", "batch"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_numbers_that_are_none(name: str, value: Any) -> None:
    """Each is an int from 1, and the error names it."""
    with pytest.raises(InputError, match=rf"^{name}=.*: give a number of (tokens|samples), an int from 1$"):
        costmodel.generation(Tiny(), **({"prompt": 4} | {name: value}))


@pytest.mark.parametrize("weights", ["int2", 4, []])
def test_an_unknown_packing(weights: Any) -> None:
    """The error has those that there are."""
    with pytest.raises(InputError, match="they are packed as int8 or int4, or None"):
        costmodel.generation(Tiny(), prompt=4, weights=weights)


def test_a_model_without_a_cache() -> None:
    """Its forward takes none, and the error says what to do instead."""
    with pytest.raises(InputError, match=r"^Linear has no cache: its forward takes none of cache, past_key_values, "):
        costmodel.generation(nn.Linear(3, 3), prompt=4)


class Forgetful(Tiny):
    """Takes a cache and returns none."""

    def forward(self, input_ids: Any, past_key_values: Any = None, use_cache: bool = True) -> dict[str, Any]:
        """Scores alone."""
        return {"logits": super().forward(input_ids, past_key_values, use_cache)["logits"]}


class Bare(Tiny):
    """Returns a tensor."""

    def forward(self, input_ids: Any, past_key_values: Any = None, use_cache: bool = True) -> Any:
        """Scores alone, in no dictionary."""
        return super().forward(input_ids, past_key_values, use_cache)["logits"]


@pytest.mark.parametrize("kind", [Forgetful, Bare])
def test_a_model_that_returns_no_cache(kind: type[Tiny]) -> None:
    """It is said where it is traced."""
    with pytest.raises(InputError, match="returns no cache, though it takes 'past_key_values'"):
        _ = costmodel.generation(kind(), prompt=4).macs


@pytest.mark.parametrize("given", [None, 3, [1, 2]])
def test_what_is_no_model(given: Any) -> None:
    """It is refused by what it is."""
    with pytest.raises(InputError, match="generation takes a model that makes tokens"):
        costmodel.generation(given, prompt=4)


def test_models_that_make_no_tokens() -> None:
    """A decoder without a head, and a network for images."""
    transformers = pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"^LlamaModel makes no tokens: it has no head"):
        costmodel.generation(small("llama").model, prompt=4)
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    with pytest.raises(InputError, match=r"^ViTModel makes no tokens"):
        costmodel.generation(transformers.ViTModel(config), prompt=4)


def test_learnt_positions_end() -> None:
    """GPT-2 of 64 positions: a prompt of 60 and 5 new tokens, of which the last is never read, and no more."""
    model = small("learnt positions")
    g = costmodel.generation(model, prompt=60, new=5)
    assert g.contexts[-1] == 63
    with pytest.raises(InputError, match=r"^GPT2LMHeadModel has an embedding for each of 64 positions.* 65 tokens"):
        costmodel.generation(model, prompt=60, new=6)
    with pytest.raises(InputError, match="65 tokens"):
        g.decode(64)
    assert g.largest_prompt("1GB") == 60
    with pytest.raises(InputError, match=r"context=0: give the number of tokens in the cache"):
        g.decode(0)


def test_rotary_positions_go_on() -> None:
    """A model whose positions are computed can be given more, and the text says that it is not made for them."""
    model = small("llama")
    g = costmodel.generation(model, prompt=3000)
    assert g.steps.positions == 2048
    assert "3,000 of 2,048: more than it is made for" in str(g)


def test_the_largest_that_fit() -> None:
    """Confirmed at the answer and at the next, by generations of their own."""
    g = costmodel.generation(Tiny(), prompt=6, new=3)
    for memory in ("10kB", 50_000):
        batch, prompt = g.largest_batch(memory), g.largest_prompt(memory)
        assert costmodel.generation(Tiny(), prompt=6, new=3, batch=batch).fits(memory)
        assert not costmodel.generation(Tiny(), prompt=6, new=3, batch=batch + 1).fits(memory)
        assert costmodel.generation(Tiny(), prompt=prompt, new=3).fits(memory)
        assert not costmodel.generation(Tiny(), prompt=prompt + 1, new=3).fits(memory)
    assert (g.largest_batch(100), g.largest_prompt(100)) == (0, 0)
    assert g.fits("h100")
    with pytest.raises(InputError, match="no device is called"):
        g.roofline("h1000")


def test_the_least_times_by_hand(tmp_path: Path) -> None:
    """Llama-3 8B on an H100: a token waits for its weights and its cache, the prompt for its products.

    The embedding of one token is read, of the other matrices all; the mean cache after a token is that of 101.5 tokens.
    """
    pytest.importorskip("transformers")
    g = costmodel.generation(spec(tmp_path, LLAMA_3_8B), prompt=100, new=4)
    r = g.roofline("h100")
    kept = 131_072  # bytes of a token's keys and values: 2 x 32 layers x 8 heads x 128 x 2
    weights = g.params_bytes - 128256 * 4096 * 2
    assert r.decode.weight_bytes == weights + 4096 * 2
    assert r.decode.cache_bytes == 102 * kept
    assert r.per_token == pytest.approx((weights + 8192 + 102 * kept) / r.device.bandwidth)
    assert r.tokens_per_second == pytest.approx(1 / r.per_token)
    assert r.time == r.first_token + 3 * r.per_token
    assert r.prefill.weight_bytes == weights + 100 * 4096 * 2
    assert r.prefill.flops == 2 * g.prefill_executed_macs
    assert (r.prefill.bound, r.decode.bound) == ("memory", "memory")
    assert costmodel.generation(g.steps.model, prompt=2000).roofline("h100").prefill.bound == "compute"


def test_from_the_ridge_on_tokens_wait_for_arithmetic(tmp_path: Path) -> None:
    """At that batch a token's products take as long as its bytes, and one sample fewer waits for memory."""
    pytest.importorskip("transformers")
    config = LLAMA_3_8B | {"num_hidden_layers": 2}
    ridge = costmodel.generation(spec(tmp_path, config), prompt=8, new=2).roofline("h100").ridge_batch
    assert ridge is not None
    bounds = [
        costmodel.generation(spec(tmp_path, config), prompt=8, new=2, batch=batch).roofline("h100").decode
        for batch in (ridge - 2, ridge + 2)
    ]
    assert [bound.bound for bound in bounds] == ["memory", "compute"]
    long = costmodel.generation(spec(tmp_path, config), prompt=8000, new=2)
    assert long.roofline("h100").ridge_batch is None


def test_a_type_has_a_head(tmp_path: Path) -> None:
    """``hf:`` and a type, or a configuration that names no architecture, is the model that makes tokens."""
    pytest.importorskip("transformers")
    g = costmodel.generation("hf:gpt2(n_layer=1)", prompt=4)
    assert type(g.steps.model).__name__ == "GPT2LMHeadModel"
    config = {key: value for key, value in LLAMA_3_8B.items() if key != "architectures"} | {"num_hidden_layers": 1}
    assert type(costmodel.generation(spec(tmp_path, config), prompt=4).steps.model).__name__ == "LlamaForCausalLM"
    with pytest.raises(LoadError, match="neither a file nor a model type"):
        costmodel.generation("hf:no-such-model", prompt=4)


# -- the command ---------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command writes, on both streams; its exit status is as expected."""
    with pytest.raises(SystemExit) as left:
        main(["generate", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code or 0) == status, captured.err
    return captured.out + captured.err


NET = Path(__file__).with_name("networks.py")


def test_a_prompt_beyond_the_positions_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made for 8,192 positions, of which the last of 4 new tokens takes none: a prompt of 8,189; else nothing."""
    pytest.importorskip("transformers")
    model = (spec(tmp_path, LLAMA_3_8B | {"num_hidden_layers": 1}), "--prompt", "8", "--new", "4")
    shown = run(capsys, *model, "--memory", "80GB")
    assert "the model is made for 8,192 positions: with 4 new tokens, a prompt of 8,189" in shown
    assert "is made for" not in run(capsys, *model, "--memory", "3GB")


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals, memory and a device's times, within 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(
        capsys, f"{NET}:Tiny", "--prompt", "50", "--new", "4", "--batch", "2", "--device", "h100", "--memory", "1MB"
    )
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    for part in (
        "MACs, hidden ones skipped",
        "128 B a token",
        "✓ fits",
        "tokens per second after the first, of 2 samples together",
    ):
        assert part in shown
    g = costmodel.generation(Tiny(), prompt=50, new=4, batch=2)
    assert f"the largest batch that fits: {g.largest_batch('1MB'):,}" in shown


def test_files_and_formats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """JSON has every total exactly; each suffix is written; the page names no other address."""
    files = [tmp_path / f"g.{suffix}" for suffix in ("html", "md", "json", "csv", "tex", "txt")]
    run(capsys, f"{NET}:Tiny", "--prompt", "5", "--new", "4", *(f"--save={path}" for path in files))
    g = costmodel.generation(Tiny(), prompt=5, new=4)
    document = json.loads(files[2].read_text())
    assert (document["totals"]["macs"], document["totals"]["flops"]) == (g.macs, g.flops)
    assert [(piece["from"], piece["to"]) for piece in document["decode"]] == [(5, 7)]
    assert document["decode"][0]["last"]["cache_bytes"] == g.kv_cache_bytes
    page, table = files[0].read_text(), files[3].read_text().splitlines()
    assert "Token after 7" in page
    assert 'src="http' not in page
    assert table[0].startswith("call,macs,flops,")
    assert table[-1].startswith(f"all,{g.macs},{g.flops},")
    assert (tmp_path / "g_figures" / "cost-of-a-token.svg").exists()
    assert r"\toprule" in files[4].read_text()


def test_errors_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A model without a cache, and a memory that is no size."""
    assert "has no cache" in run(capsys, "resnet18", "--prompt", "5", status=2)
    assert "'much' is not a count" in run(capsys, f"{NET}:Tiny", "--prompt", "5", "--memory", "much", status=2)
