"""Files that are written: errors that say what to do, and an old file that stays whole."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

import costmodel
from costmodel import files
from costmodel.budgets.file import read_budgets
from costmodel.devices import device
from costmodel.errors import ConvertError

SUFFIXES = (".html", ".md", ".json", ".csv", ".tex", ".txt")


@pytest.fixture(scope="module")
def profile() -> costmodel.Profile:
    """A small profile, with figures."""
    return costmodel.profile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (1, 3, 8, 8))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_device_without_room_is_one_clear_error(profile: costmodel.Profile, tmp_path: Path, suffix: str) -> None:
    """On /dev/full, whose writes fail for lack of space, every format says so."""
    (tmp_path / f"p{suffix}").symlink_to("/dev/full")
    with pytest.raises(ConvertError, match=r"p\.\w+ cannot be written: No space left on device. Free the disk, or"):
        profile.save(tmp_path / f"p{suffix}")


def _fail(error: BaseException) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise error

    return fail


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=type)
def test_a_full_disk_or_an_interrupt_leaves_the_old_file_whole(
    profile: costmodel.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, suffix: str
) -> None:
    """What fails while a file is written changes nothing: the old file is there, and no other."""
    path = profile.save(tmp_path / f"p{suffix}")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    other = costmodel.profile(nn.Linear(8, 8), (1, 8))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _fail(error))
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ConvertError):
            other.save(path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    other.save(path)
    assert path.read_bytes() != before[path]


FILE_SIZE_LIMIT = """
import resource, signal, sys
import costmodel
from torch import nn
p = costmodel.profile(nn.Linear(4, 4), (1, 4))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    p.save(sys.argv[1])
except costmodel.ConvertError as error:
    print(error)
"""


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    """The system's own limit stops the write in its midst: a clear error, and the old file."""
    path = tmp_path / "p.html"
    path.write_text("old")
    command = [sys.executable, "-c", FILE_SIZE_LIMIT, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written: File too large" in said
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_and_links_stay(profile: costmodel.Profile, tmp_path: Path) -> None:
    """The mode of the old file is kept, a new one has the usual mode, and a link still points where it did."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    profile.save(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert costmodel.read_json(real).macs == profile.macs
    usual = tmp_path / "usual"
    usual.touch()
    assert profile.save(tmp_path / "new.json").stat().st_mode == usual.stat().st_mode
    (tmp_path / "dangling.json").symlink_to(tmp_path / "later.json")
    profile.save(tmp_path / "dangling.json")
    assert (tmp_path / "later.json").is_file()


def test_a_file_that_is_read_only_is_refused(
    profile: costmodel.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename could replace what its owner protected. Root may write anything, so the system's answer is forced."""
    path = tmp_path / "p.json"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConvertError, match=r"p\.json cannot be written: the file is read-only"):
        profile.save(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_path_that_cannot_be_is_one_clear_error(profile: costmodel.Profile, tmp_path: Path, suffix: str) -> None:
    """A file taken for a folder, a folder taken for a file, a name too long, a zero byte."""
    (tmp_path / "file").write_text("")
    (tmp_path / f"folder{suffix}").mkdir()
    for wrong in (f"file/p{suffix}", f"folder{suffix}", f"{'n' * 300}{suffix}", f"zero\0byte{suffix}"):
        with pytest.raises(ConvertError, match="cannot be written: "):
            profile.save(tmp_path / wrong)


@pytest.mark.parametrize("wrong", [None, 5, "", [], b"p.json", object()], ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_path_is_refused(profile: costmodel.Profile, wrong: object) -> None:
    """The error says what a path is, when written and when read."""
    for use in (profile.save, costmodel.read_json):
        with pytest.raises(ConvertError, match="path"):
            use(wrong)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "read",
    [
        costmodel.read_json,
        read_budgets,
        device,
        lambda path: costmodel.load(path.replace(".toml", ".py:net")),
        lambda path: costmodel.load(path.replace(".toml", ".pt2")),
        lambda path: costmodel.load(f"hf:{path}"),
    ],
)
def test_a_home_is_that_of_a_user(read: Callable[[str], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads a file looks in the home that is meant, and says where there is none."""
    monkeypatch.setenv("HOME", "/no/such/home")
    with pytest.raises(costmodel.CostModelError, match=r"/no/such/home/mine|~/mine"):
        read("~/mine.toml")
    with pytest.raises(costmodel.CostModelError, match="home directory"):
        read("~no_such_user/mine.toml")


def test_every_writer_writes_in_this_way() -> None:
    """No file of the library writes another by itself."""
    writes = re.compile(r"""\.write_(text|bytes)\(|\bopen\(['"][wax]|\bto_(csv|json|parquet)\(path""")
    library = Path(files.__file__).parent
    found = {file.name for file in library.rglob("*.py") if writes.search(file.read_text("utf-8"))}
    assert found == {"files.py"}
