"""What is asked with --device and --memory is in every report: on the terminal, in each file, and for scripts."""

from __future__ import annotations

import json
import re

import pytest

import costmodel
from costmodel.cli import main
from costmodel.views import units
from tests.decoding.networks import Tiny, small

ROOM = 10**6


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The terminal, and every file that the command saves, by suffix."""
    folder = tmp_path_factory.mktemp("asked")
    suffixes = ("html", "md", "txt", "json", "csv", "tex")
    saves = [word for suffix in suffixes for word in ("--save", str(folder / f"g.{suffix}"))]
    with pytest.raises(SystemExit) as left:
        main(["generate", MODEL, *OPTIONS, *saves])
    assert not left.value.code
    return {suffix: (folder / f"g.{suffix}").read_text("utf-8") for suffix in suffixes}


MODEL = "tests.decoding.networks:Tiny"
OPTIONS = ["--prompt", "5", "--new", "4", "--device", "rtx4090", "--memory", str(ROOM)]


@pytest.mark.parametrize("suffix", ["html", "md", "txt"])
def test_reports_have_the_answers(suffix: str, asked: dict[str, str]) -> None:
    """Whether it fits, the largest batch and prompt, the least times and the tokens per second."""
    g = costmodel.generation(Tiny(), prompt=5, new=4)
    roof = g.roofline("rtx4090")
    shown = re.sub(r"\s+", " ", asked[suffix])
    for text in (
        "n NVIDIA GeForce RTX 4090",
        f"n {ROOM} of memory",
        f"✓ fits: {units.si(g.peak_memory, 'B')} of 24.0 GB",
        f"he largest batch that fits: {g.largest_batch(ROOM):,}; the longest prompt: {g.largest_prompt(ROOM):,} tokens",
        f"t least {units.seconds(roof.first_token)} to the first token",
        f"t most {float(f'{roof.tokens_per_second:.3g}'):,.0f} tokens per second",
    ):
        assert text in shown, text


def test_json_has_the_answers(asked: dict[str, str]) -> None:
    """One each for the device and the memory; none where nothing was asked."""
    g = costmodel.generation(Tiny(), prompt=5, new=4)
    device, memory = json.loads(asked["json"])["answers"]
    roof = g.roofline("rtx4090")
    assert device["tokens_per_second"] == roof.tokens_per_second
    assert (device["first_token_seconds"], device["per_token_seconds"]) == (roof.first_token, roof.per_token)
    assert device["largest_batch"] == g.largest_batch("rtx4090")
    assert memory == {
        "where": f"in {ROOM} of memory", "memory": ROOM, "fits": g.peak_memory <= ROOM,
        "largest_batch": g.largest_batch(ROOM), "largest_prompt": g.largest_prompt(ROOM),
    }  # fmt: skip
    assert "answers" not in json.loads(g.to_json())


@pytest.mark.parametrize("suffix", ["csv", "tex"])
def test_tables_have_the_totals_alone(suffix: str, asked: dict[str, str]) -> None:
    """As they are without the options."""
    g = costmodel.generation(Tiny(), prompt=5, new=4)
    assert asked[suffix] == {"csv": g.to_csv, "tex": g.to_latex}[suffix]()


def test_standard_output_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    """--json and --markdown say what the files say."""
    for option, key in (("--json", '"tokens_per_second"'), ("--markdown", "## On NVIDIA GeForce RTX 4090")):
        with pytest.raises(SystemExit):
            main(["generate", MODEL, *OPTIONS, option])
        assert key in capsys.readouterr().out


def test_a_batch_that_does_not_fit() -> None:
    """The cross is there, too, and what a copy with other answers computed is not computed again."""
    g = costmodel.generation(Tiny(), prompt=5, new=4)
    small = g.with_answers(memory=1)
    assert "✗ does not fit" in small.to_html()
    assert "- ✗ does not fit" in small.to_markdown()
    assert "not even one sample of one token fits" in str(small)
    assert small.pieces is g.pieces
    assert small != g
    assert not g.answered


def test_notebooks_show_them() -> None:
    """And of a device without memory of one size the times alone."""
    shown = costmodel.generation(Tiny(), prompt=5, new=4).with_answers(device="apple-m4", memory="1MB")
    html = shown._repr_html_()
    assert "In 1MB of memory: fits" in html
    assert "tokens per second" in html
    of_device, of_memory = str(shown).split("on Apple M4")[1].split("in 1MB of memory")
    assert "to the first token" in of_device
    assert "fits" not in of_device
    assert "fits" in of_memory


def test_scores_of_a_prompt() -> None:
    """Of 8 tokens the head has one: a profile of the same has 7 times the head more, and the report says so."""
    pytest.importorskip("transformers")
    model = small("llama")
    g = costmodel.generation(model, prompt=8)
    of_all = costmodel.profile(model, {"input_ids": costmodel.Input((1, 8), "int64"), "use_cache": True})
    assert of_all.macs - g.prefill.macs == 7 * model.config.hidden_size * model.config.vocab_size
    assert "only the last token has its scores computed" in str(g)
    assert "scores" not in str(costmodel.generation(Tiny(), prompt=8))
