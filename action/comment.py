"""Posts a report as the one comment of this action on a pull request, or updates it. Needs Python alone.

Where there is no comment, the log says why and what to do; the job does not fail.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

UNREMARKABLE = re.compile(r"### Budgets: ✅.*^### Costs: none of [\d,]+ changed$", re.MULTILINE | re.DOTALL)
"""A report that needs no comment, where there is none yet."""

PERMISSION = (
    "The workflow needs 'permissions: pull-requests: write', and a personal token 'Pull requests: read and write' for "
    "this repository"
)
REMEDIES = {
    401: "The action's input 'token' is no valid token: it may have expired",
    403: f"{PERMISSION}; the token of a pull request from a fork never may write",
    404: f"The token does not see this pull request. {PERMISSION}",
    422: "GitHub does not take this text",
}
"""What to do, by the status that the API answers with."""
LATER = "Run the job again later"


def main(report: str) -> None:
    """Posts it, or says why not."""
    # An HTML comment, which nobody sees, marks the comment to update: one for each budget file.
    marker = f"<!-- costmodel: {os.environ['FILE']} -->"
    text = Path(report).read_text("utf-8")
    comments = f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues/{os.environ['PULL_REQUEST']}/comments"
    try:
        own = find(comments, marker)
        if own is not None:
            call("PATCH", f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues/comments/{own}", body(marker, text))
        elif not UNREMARKABLE.match(text):
            call("POST", comments, body(marker, text))
    except HTTPError as error:
        # That of a fork is no surprise.
        say("notice" if error.code == 403 else "warning", f"the API answered {told(error)}. {remedy(error)}")
    except URLError as error:
        say("warning", f"the API cannot be reached: {error.reason}. {LATER}")
    except (OSError, HTTPException, ValueError) as error:
        say("warning", f"the API did not answer as it should: {error or type(error).__name__}. {LATER}")


def body(marker: str, text: str) -> dict[str, str]:
    """The comment, marked as this action's own."""
    return {"body": f"{marker}\n{text}"}


def find(comments: str, marker: str) -> int | None:
    """The number of the comment that begins with the marker, if there is one."""
    page = 1
    while found := call("GET", f"{comments}?per_page=100&page={page}"):
        for comment in found:
            if comment["body"].startswith(marker):
                return int(comment["id"])
        page += 1
    return None


def call(method: str, path: str, given: Any = None) -> Any:
    """What the API answers."""
    request = Request(
        os.environ["GITHUB_API_URL"] + path,
        method=method,
        data=None if given is None else json.dumps(given).encode(),
        headers={
            # Else the error of a header that cannot be sent would show the token.
            "Authorization": f"Bearer {re.sub('[^!-~]', '', os.environ['GITHUB_TOKEN'])}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def told(error: HTTPError) -> str:
    """The status of an answer, and what the API says of it."""
    try:
        found = json.load(error)
    except (OSError, HTTPException, ValueError):
        found = None  # a proxy's page
    found = found if isinstance(found, Mapping) else {}
    details = [each.get("message") for each in found.get("errors") or () if isinstance(each, Mapping)]
    messages = "; ".join(str(message) for message in (found.get("message"), *details) if message)
    return f"{error.code} ({messages or error.reason})"


def remedy(error: HTTPError) -> str:
    """What to do."""
    if error.code == 401 and not os.environ["GITHUB_TOKEN"].strip():
        return "The action's input 'token' is empty: a pull request from a fork has no secrets"
    if error.headers.get("x-ratelimit-remaining") == "0" or error.headers.get("retry-after"):
        return LATER
    return REMEDIES.get(error.code, LATER if error.code >= 500 else "That is not expected: please report it")


def say(how: str, why: str) -> None:
    """A line of the log that GitHub marks, with the characters that it would read as the end escaped."""
    for character in "%\r\n":
        why = why.replace(character, f"%{ord(character):02X}")
    print(f"::{how}::no comment: {why}. The job's summary has the report.")


if __name__ == "__main__":
    main(*sys.argv[1:])
