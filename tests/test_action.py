"""The GitHub Action: its shell steps, as GitHub runs them, in a repository with a base and a pull request."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

import costmodel

ROOT = Path(__file__).parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))

NET = """
from torch import nn

def small(n):
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU())
"""
FILE = """
[budget.first]
model = "net.py:small(n={n})"
input = [1, 3, 8, 8]
macs = "<= 8k"

[budget.second]
model = "src/package.py:small(n=4)"
input = [1, 3, 8, 8]
params = "<= 1k"
"""


# -- GitHub, as far as the action uses it --------------------------------------------------------------------------


class Api(BaseHTTPRequestHandler):
    """Comments of a pull request, as https://docs.github.com/rest/issues/comments has them."""

    comments: list[dict[str, Any]]
    calls: list[str]
    failure: tuple[int, bytes, dict[str, str]] | None = None
    """The answer to each call, where the API fails: status, body and headers."""

    def answer(self, status: int, found: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def do(self) -> None:
        self.calls.append(self.command)
        if self.failure is not None:
            status, body, headers = self.failure
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)
            return None
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        url = urlparse(self.path)
        if self.command != "GET" and self.headers["Authorization"] != "Bearer may-write":
            return self.answer(403, {"message": "Resource not accessible by integration"})
        if len(given.get("body", "")) > 65_536:
            too_long = {"resource": "IssueComment", "message": "body is too long (maximum is 65536 characters)"}
            return self.answer(422, {"message": "Validation Failed", "errors": [too_long, "another"]})
        if url.path == "/repos/owner/name/issues/7/comments":
            if self.command == "POST":
                self.comments.append({"id": len(self.comments), **given})
                return self.answer(201, self.comments[-1])
            query = {name: int(value) for name, (value,) in parse_qs(url.query).items()}
            start = query["per_page"] * (query["page"] - 1)
            return self.answer(200, self.comments[start : start + query["per_page"]])
        (number,) = re.fullmatch(r"/repos/owner/name/issues/comments/(\d+)", url.path).groups()  # type: ignore[union-attr]
        self.comments[int(number)].update(given)
        return self.answer(200, self.comments[int(number)])

    do_GET = do_POST = do_PATCH = do  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@pytest.fixture
def api() -> Iterator[type[Api]]:
    """The API, with a pull request on which others have commented."""
    talk = [{"id": i, "body": f"<p>{i}"} for i in range(150)]
    handler = type("Here", (Api,), {"comments": talk, "calls": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield handler
        server.shutdown()


@dataclass
class Runner:
    """A machine of GitHub's, with one checkout and the caches of its repository."""

    folder: Path
    api: str
    caches: dict[str, Path] = field(default_factory=dict)
    summary: str = ""
    log: str = ""

    @property
    def checkout(self) -> Path:
        """The repository."""
        return self.folder / "checkout"

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, cwd=self.checkout, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files: str) -> str:
        """Commits files, ``__`` in their names being a slash and a final ``_`` and suffix a dot; returns the hash."""
        for name, text in files.items():
            stem, _, suffix = name.replace("__", "/").rpartition("_")
            path = self.checkout / f"{stem}.{suffix}"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return self.git("rev-parse", "HEAD")

    def comment(self, report: str, **inputs: str) -> int:
        """Runs the step that comments alone, with a report that others have written."""
        (self.folder / "report.md").write_text(report, "utf-8")
        done = {"report": {"outputs": {"report": str(self.folder / "report.md"), "ok": "true"}}}
        steps = [step for step in ACTION["runs"]["steps"] if step["name"] == "Comment on the pull request"]
        return self.run(only=steps, done=done, python=sys.executable, **inputs)

    def run(
        self, base: str = "", *, event: str = "pull_request", only: list[Any] | None = None, done: Any = None,
        **inputs: str,
    ) -> int:  # fmt: skip
        """Runs the steps of the action; returns the exit status of the first that fails, or 0."""
        temp, told = self.folder / "temp", {"outputs": self.folder / "outputs", "summary": self.folder / "summary"}
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        pull = {"number": 7, "base": {"sha": base}} if event == "pull_request" else None
        steps: dict[str, Any] = done or {}
        scope = {
            "inputs": {name: given.get("default", "") for name, given in ACTION["inputs"].items()} | inputs,
            "github": {"event": {"pull_request": pull}, "event_name": event, "sha": self.git("rev-parse", "HEAD")},
            "runner": {"temp": str(temp)},
            "steps": steps,
        }
        environment = os.environ | {
            "RUNNER_TEMP": str(temp), "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_API_URL": self.api,
            "GITHUB_REPOSITORY": "owner/name", "GITHUB_OUTPUT": str(told["outputs"]),
            "GITHUB_STEP_SUMMARY": str(told["summary"]),
        }  # fmt: skip
        told["summary"].write_text("")
        self.log = ""
        for step in only or ACTION["runs"]["steps"]:
            if not condition(step.get("if", "true"), scope):
                continue
            told["outputs"].write_text("")
            if "uses" in step:
                self._cache(step["uses"], {name: filled(text, scope) for name, text in step["with"].items()})
                continue
            given = {name: filled(text, scope) for name, text in step.get("env", {}).items()}
            script = self.folder / "step.sh"
            script.write_text(step["run"])
            assert "${{" not in step["run"]  # an expression in a script is an injection
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
            ran = subprocess.run(
                command, cwd=self.checkout, env=environment | given, capture_output=True, text=True, check=False
            )
            self.log += ran.stdout + ran.stderr
            outputs = [line.partition("=") for line in told["outputs"].read_text().splitlines()]
            steps[step.get("id")] = {"outputs": {name: value for name, _, value in outputs}}
            self.summary = told["summary"].read_text("utf-8")
            if ran.returncode:
                return ran.returncode
        return 0

    def _cache(self, what: str, given: dict[str, str]) -> None:
        path, kept = Path(given["path"]), self.folder / f"cache-{len(self.caches)}"
        if what.startswith("actions/cache/save@"):
            self.caches[given["key"]] = Path(shutil.copytree(path, kept))
        elif given["key"] in self.caches:
            assert what.startswith("actions/cache/restore@")
            shutil.copytree(self.caches[given["key"]], path)


def value(expression: str, scope: Any) -> Any:
    """The value of a name, or of a text in quotes."""
    if expression.startswith("'"):
        return expression.strip("'")
    for name in expression.split("."):
        scope = (scope or {}).get(name)
    return scope


def filled(text: str, scope: Any) -> str:
    """A text with the values of its expressions."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: str(value(match[1], scope)), str(text))


def condition(text: str, scope: Any) -> bool:
    """Whether a condition holds: names, ``==`` and ``!=``, joined by ``&&``."""

    def holds(part: str) -> bool:
        left, relation, right = re.fullmatch(r"(\S+)(?: (==|!=) (\S+))?", part).groups()  # type: ignore[union-attr]
        found = value(left, scope) if left != "true" else True
        return bool(found) if relation is None else (found == value(right, scope)) == (relation == "==")

    return all(map(holds, text.split(" && ")))


@pytest.fixture
def runner(tmp_path: Path, api: type[Api]) -> Runner:
    """A machine with a repository of one commit: the base."""
    made = Runner(tmp_path, api.address)  # type: ignore[attr-defined]
    made.checkout.mkdir()
    made.git("init", "--quiet")
    made.commit(net_py=NET, src__package_py=NET, costmodel_toml=FILE.format(n=8))
    return made


HOW = {"python": sys.executable, "token": "may-write"}


# -- tests ---------------------------------------------------------------------------------------------------------


def test_a_pull_request_has_one_comment(runner: Runner, api: type[Api]) -> None:
    """It is posted, and updated by the next push; a budget that is not kept fails the job once all is written."""
    base = runner.git("rev-parse", "HEAD")
    runner.commit(costmodel_toml=FILE.format(n=9))
    assert runner.run(base, **HOW) == 1
    assert len(api.comments) == 151
    posted = api.comments[-1]["body"]
    assert posted.startswith("<!-- costmodel: costmodel.toml -->\n### Budgets: ❌ 1 of 2 budgets not kept\n")
    assert "**first**: MACs: 8.75 kMACs of at most 8.00 kMACs" in posted  # 6 * 6 * 9 * 27
    assert re.search(r"^\| first +\|\s+252 \(\+12\.5%\) \|", posted, re.MULTILINE)  # of 8 * 28
    assert "### Costs: 1 of 2 changed" in posted
    assert "<summary>first: 2 layers changed</summary>" in posted
    assert runner.summary == posted.split("\n", 1)[1]
    assert runner.git("worktree", "list").count("\n") == 0  # the base's is gone

    runner.commit(costmodel_toml=FILE.format(n=7))
    assert runner.run(base, **HOW) == 0
    assert len(api.comments) == 151
    assert "### Budgets: ✅ 2 budgets kept" in api.comments[-1]["body"]
    assert "(-12.5%)" in api.comments[-1]["body"]


def test_the_costs_of_the_base_are_saved(runner: Runner, api: type[Api]) -> None:
    """A push to the base keeps its costs, and a pull request takes them from there; growth may be bounded, too."""
    base = runner.git("rev-parse", "HEAD")
    assert runner.run(event="push", **HOW) == 0
    assert list(runner.caches) == [f"costmodel-{costmodel.__version__}-costmodel.toml-{base}"]
    assert runner.summary.startswith("### Budgets: ✅ 2 budgets kept")
    assert not api.calls
    (runner.checkout / ".git/objects").rename(runner.checkout / ".git/lost")  # the base cannot be checked out
    runner.git("init", "--quiet")
    (runner.checkout / "src/package.py").write_text(NET.replace("Conv2d(3, n, 3)", "Conv2d(3, n, 3, bias=False)"))
    assert runner.run(base, **HOW) == 0
    assert "### Costs: 1 of 2 changed" in api.comments[-1]["body"]
    (runner.checkout / "src/package.py").write_text(NET.replace("Conv2d(3, n, 3)", "Conv2d(3, 2 * n, 3)"))
    assert runner.run(base, **HOW, **{"fail-over": "50%"}) == 1
    assert "❌ Grew by more than 50%: second." in api.comments[-1]["body"]


CHANGED = "### Budgets: ✅ 2 budgets kept\n\n### Costs: 1 of 2 changed\n"
UNCHANGED = (
    "### Budgets: ✅ 2 budgets kept\n\n<details>\n</details>\n\n### Costs: none of 2 changed\n\nUnchanged: a, b.\n"
)


NEEDS = "The workflow needs 'permissions: pull-requests: write', and a personal token"
LATER = "Run the job again later. The job's summary"


def test_a_fork_s_token_may_not_write(runner: Runner, api: type[Api]) -> None:
    """The job goes on and says so; its summary has the report."""
    assert runner.comment(CHANGED, token="of-a-fork") == 0
    assert api.calls == ["GET", "GET", "GET", "POST"]
    said = f"::notice::no comment: the API answered 403 (Resource not accessible by integration). {NEEDS}"
    assert runner.log.startswith(said)
    assert len(api.comments) == 150


def test_a_text_that_is_too_long_is_said(runner: Runner, api: type[Api]) -> None:
    """With each of the API's reasons."""
    assert runner.comment(CHANGED + "x" * 65_536, token="may-write") == 0
    said = "the API answered 422 (Validation Failed; body is too long (maximum is 65536 characters)). GitHub does not"
    assert said in runner.log
    assert len(api.comments) == 150


@pytest.mark.parametrize(
    ("status", "message", "headers", "said"),
    [
        (401, "Bad credentials", {}, "401 (Bad credentials). The action's input 'token' is no valid token"),
        (403, "Too many%", {"x-ratelimit-remaining": "0"}, f"403 (Too many%25). {LATER}"),
        (403, "Slow\ndown", {"retry-after": "60"}, f"403 (Slow%0Adown). {LATER}"),
        (404, "Not Found", {}, f"404 (Not Found). The token does not see this pull request. {NEEDS}"),
        (418, "no coffee", {}, "418 (no coffee). That is not expected: please report it"),
        (500, "Server Error", {}, f"500 (Server Error). {LATER}"),
        (502, None, {}, f"502 (Bad Gateway). {LATER}"),
        (200, None, {}, "the API did not answer as it should: "),
    ],
)
def test_what_the_api_does_not_do_is_said(
    status: int, message: str | None, headers: dict[str, str], said: str, runner: Runner, api: type[Api]
) -> None:
    """What happened, in its words, and what to do about that; a page in the place of an answer is not shown."""
    body = b"<html>a proxy" if message is None else json.dumps({"message": message}).encode()
    api.failure = status, body, headers
    assert runner.comment(CHANGED, token="may-write") == 0
    assert said in runner.log
    assert "proxy" not in runner.log
    assert runner.log.count("\n") == 1
    assert runner.log.endswith("The job's summary has the report.\n")


@pytest.mark.parametrize("token", ["", "sec\nret", "s\u00e9cret\n", "secret "])
def test_a_token_is_never_shown(token: str, runner: Runner, api: type[Api]) -> None:
    """An empty one is said; one with characters that no header takes is sent without them, as those of a line's end."""
    api.failure = 401, b"{}", {}
    assert runner.comment(CHANGED, token=token) == 0
    assert "ret" not in runner.log.replace("secrets", "")
    assert ("'token' is empty: a pull request from a fork has no secrets" in runner.log) == (not token)
    api.failure = None
    assert runner.comment(CHANGED, token="may-write\n") == 0
    assert len(api.comments) == 151


def test_where_nothing_changed_is_no_first_comment(runner: Runner, api: type[Api]) -> None:
    """One that is there is updated. Comments can be switched off, and a run without a pull request has none."""
    assert runner.comment(UNCHANGED, token="may-write") == 0
    assert "POST" not in api.calls
    assert runner.comment(CHANGED, token="may-write") == 0
    assert runner.comment(UNCHANGED, token="may-write") == 0
    assert api.comments[-1]["body"] == f"<!-- costmodel: costmodel.toml -->\n{UNCHANGED}"
    assert len(api.comments) == 151
    for others in (CHANGED.replace("✅", "❌"), UNCHANGED.replace("changed\n", "changed, 1 new\n")):
        api.comments.pop()
        assert runner.comment(others, token="may-write") == 0
        assert len(api.comments) == 151
    api.calls.clear()
    assert runner.comment(CHANGED, token="may-write", comment="false") == 0
    assert runner.comment(CHANGED, token="may-write", event="push") == 0
    assert not api.calls


def test_an_api_that_does_not_answer_fails_nothing(runner: Runner) -> None:
    """The report is in the summary all the same."""
    runner.api = "http://127.0.0.1:9"
    assert runner.comment(CHANGED, token="may-write") == 0
    assert "::warning::no comment: the API cannot be reached: [Errno 111] Connection refused. Run" in runner.log


def test_what_cannot_be_profiled_is_said(runner: Runner, api: type[Api]) -> None:
    """A pull request that fails itself, a base that does, and a base that has no budgets yet."""
    base = runner.git("rev-parse", "HEAD")
    broken = runner.commit(costmodel_toml="[budget.first]\nmodell = 'net.py:small'\n")
    assert runner.run(base, **HOW) == 1
    assert "### Budgets: ❌ costmodel.toml could not be checked\n\n```\nerror: " in api.comments[-1]["body"]
    assert "[budget.first]: it has no model" in api.comments[-1]["body"]
    runner.commit(costmodel_toml=FILE.format(n=8))
    assert runner.run(broken, **HOW) == 0
    assert "⚠️ Nothing is compared, for the base could not be profiled:\n\n```\nerror: " in runner.summary
    runner.git("rm", "--quiet", "costmodel.toml")
    before = runner.commit()
    runner.commit(costmodel_toml=FILE.format(n=8))
    assert runner.run(before, **HOW) == 0
    assert "### Costs: 2 new" in runner.summary
