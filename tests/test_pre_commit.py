"""The pre-commit hook, run by pre-commit itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NET = """
from torch import nn

def small(n):
    return nn.Conv2d(3, n, 3)
"""
BUDGET = """
[budget.small]
model = "net.py:small(n=8)"
input = [1, 3, 8, 8]
params = "<= 224"
"""
CONFIG = """
repos:
  - repo: {hooks}
    rev: {revision}
    hooks:
      - id: costmodel-check
"""


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a repository."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> Path:
    """A new repository of the files in a folder."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository that uses the hook."""
    hooks, made = tmp_path / "hooks", tmp_path / "project"
    hooks.mkdir()
    made.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    repository(hooks)
    (made / "net.py").write_text(NET)
    (made / "costmodel.toml").write_text(BUDGET)
    (made / ".pre-commit-config.yaml").write_text(CONFIG.format(hooks=hooks, revision=git(hooks, "rev-parse", "HEAD")))
    return repository(made)


def commit(project: Path) -> subprocess.CompletedProcess[str]:
    """Commits what changed, by ``git commit``, which runs the hook."""
    git(project, "add", "--all")
    environment = os.environ | {
        "PRE_COMMIT_HOME": str(project.parent / "home"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c",
    }  # fmt: skip
    install = [sys.executable, "-m", "pre_commit", "install"]
    subprocess.run(install, cwd=project, env=environment, check=True, capture_output=True)
    command = ["git", "commit", "--message", "a change"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_a_commit_over_budget_is_refused(project: Path) -> None:
    """It has the figures; one that keeps the budget goes through, and one of other files checks nothing."""
    (project / "notes.txt").write_text("nothing of a model")
    done = commit(project)
    assert (done.returncode, "costmodel check" in done.stderr, "Skipped" in done.stderr) == (0, True, True), done.stderr
    (project / "net.py").write_text(NET.replace("3, n, 3", "3, n, 3, bias=False"))
    done = commit(project)
    assert (done.returncode, "Passed" in done.stderr) == (0, True), done.stderr
    (project / "net.py").write_text(NET.replace("3, n, 3", "3, 2 * n, 3"))
    done = commit(project)
    assert done.returncode == 1
    assert "params: 448 params of at most 224 params, 100.0% over" in done.stderr
    assert git(project, "status", "--porcelain") == "M  net.py"
