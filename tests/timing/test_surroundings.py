"""What a measurement asks of the machine: clocks, the GPU's events, the device whose peaks make the bound."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import costmodel
from costmodel import calibrate as calibration
from costmodel.devices import device_names
from costmodel.errors import InputError
from costmodel.timing import clocks, peaks
from costmodel.timing.stopwatch import CpuStopwatch, CudaStopwatch

# -- clocks --------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """A file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_frequency_and_governor_are_the_kernels(tmp_path: Path) -> None:
    """The mean frequency of all CPUs, in kHz where cpufreq has it, else in MHz from cpuinfo; else it is said."""
    info = tmp_path / "cpuinfo"
    write(info, "processor : 0\ncpu MHz\t\t: 2000.5\nprocessor : 1\ncpu MHz\t\t: 3000.5\n")
    folder = tmp_path / "cpu"
    assert clocks.cpu_frequency(folder, info) == 2500.5e6
    assert clocks.cpu_frequency(folder, tmp_path / "none") is None
    for number, khz in enumerate((1_800_000, 2_200_000)):
        write(folder / f"cpu{number}/cpufreq/scaling_cur_freq", f"{khz}\n")
        write(folder / f"cpu{number}/cpufreq/scaling_governor", "performance\n")
    assert clocks.cpu_frequency(folder, info) == 2e9
    frequency, governor, *_ = clocks.cpu_clocks(1e9, folder, info)
    assert frequency == "CPU frequency: 1.00 GHz before, 2.00 GHz after"
    assert governor == "CPU governor: performance"
    frequency, governor, *_ = clocks.cpu_clocks(None, tmp_path / "none", tmp_path / "none")
    assert (frequency, governor) == (
        "CPU frequency: the system does not say", "CPU governor: the system does not say",
    )  # fmt: skip


def command(tmp_path: Path, script: str) -> str:
    """A program in the place of nvidia-smi."""
    path = tmp_path / "smi"
    write(path, f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_clocks_of_a_gpu_are_what_nvidia_smi_says(tmp_path: Path) -> None:
    """Of the GPU that is asked for; where it is missing, fails or answers something else, that is said."""
    asked = tmp_path / "asked"
    smi = command(tmp_path, f'echo "$@" > {asked}; echo "1980, 1980, 2619, 312.50, 41"')
    assert clocks.gpu_clocks("GPU-7", smi) == (
        "of the GPU after the runs", "SM clock, MHz: 1980", "greatest SM clock, MHz: 1980", "memory clock, MHz: 2619",
        "power, W: 312.50", "temperature, °C: 41",
    )  # fmt: skip
    assert "--id=GPU-7" in asked.read_text("utf-8")
    unknown = ("GPU clocks: nvidia-smi does not say",)
    assert clocks.gpu_clocks("0", str(tmp_path / "none")) == unknown
    assert clocks.gpu_clocks("0", command(tmp_path, "exit 1")) == unknown
    assert clocks.gpu_clocks("0", command(tmp_path, "echo one, two")) == unknown
    assert clocks.gpu_clocks("0", command(tmp_path, "true")) == unknown


# -- stopwatches ---------------------------------------------------------------------------------------------------


class Event:
    """In the place of CUDA's: it is passed when the GPU settles, a second after the one before."""

    made = 0
    passed = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        Event.made += 1

    def record(self) -> None:
        Event.passed += 1
        self.at = Event.passed

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds, as CUDA has them."""
        return 1e3 * (end.at - self.at)


def test_events_of_a_gpu_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their distance is in seconds; after the GPU has settled, no new ones are made."""
    settled: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", settled.append)
    gpu = torch.device("cuda", 0)
    watch = CudaStopwatch(gpu)
    for _ in range(3):
        first, _, third = watch.mark(), watch.mark(), watch.mark()
        watch.settle()
        assert watch.seconds(first, third) == 2.0
    assert Event.made == 3
    assert settled == [gpu] * 3


def test_a_clock_is_named() -> None:
    """By its name in ``time``; any other is one's own."""
    assert CpuStopwatch(time.perf_counter).name == "time.perf_counter"
    assert CpuStopwatch(time.thread_time).name == "time.thread_time"
    assert CpuStopwatch(lambda: 0.0).name == "own clock"
    assert CpuStopwatch(time.perf_counter).seconds(1.0, 3.5) == 2.5


# -- peaks ---------------------------------------------------------------------------------------------------------


def figures(title: str) -> str:
    """What a calibration writes."""
    return (
        f'[this-cpu]\ntitle = "{title}"\npeak.float32.value = 1e9\npeak.float32.source = "x"\n'
        f'bandwidth.value = 1e9\nbandwidth.source = "x"\n'
    )


def test_this_cpu_is_as_it_was_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """With as many threads; else it is calibrated at once, said so, and the user's file is left as it is."""
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path))
    monkeypatch.setattr(peaks, "measured", lambda repeats, clock: figures(f"now, {repeats} runs"))
    model = nn.Linear(3, 2)

    def found(threads: int | None = None) -> tuple[str, str]:
        m = costmodel.measure(model, (4, 3), repeats=1, threads=threads)
        return m.peaks.title, m.peaks.why

    how = "costmodel calibrate does so thoroughly, once"
    assert found() == ("now, 15 runs", f"calibrated just now, as it had not been before; {how}")
    assert not list(tmp_path.iterdir())
    title = f"{calibration.cpu_name()}, 1 thread"
    write(tmp_path / "this-cpu.toml", figures(title))
    assert found() == (title, "as costmodel calibrate measured it")
    assert found(threads=2) == ("now, 15 runs", f"calibrated just now, as what was saved is of {title}; {how}")


def test_a_calibration_of_the_moment_is_of_the_same_form(one_thread: None) -> None:
    """It is read as a device whose title says with how many threads."""

    class Steps:
        """A clock that goes on by a millisecond with each reading."""

        now = 0.0

        def __call__(self) -> float:
            self.now += 1e-3
            return self.now

    found, why = peaks.of_this_cpu(Steps())
    assert found.title == f"{calibration.cpu_name()}, 1 thread"
    assert found.peak["float32"] == pytest.approx(2 * 1024**3 / 1e-3)
    assert found.bandwidth == pytest.approx(2 * 2**28 / 1e-3)
    assert why.startswith("calibrated just now")


def test_a_gpu_is_the_device_of_its_name() -> None:
    """Those that are known are in the list; of another the peaks must be named."""
    assert set(peaks.OF_CUDA.values()) <= set(device_names())
    found, why = peaks.of_gpu("NVIDIA H100 80GB HBM3")
    assert (found.name, why) == ("h100", "by the name NVIDIA H100 80GB HBM3")
    with pytest.raises(InputError, match=r"no peak rates are known of NVIDIA T4: name the device .* with peaks="):
        peaks.of_gpu("NVIDIA T4")
