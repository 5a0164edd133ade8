"""Posts a report as the one comment of this action on a pull request, or updates it. Needs Python alone.

What is not allowed, as for the token of a pull request from a fork, is said in the log, and is no failure.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

UNREMARKABLE = re.compile(r"### Budgets: ✅.*^### Costs: none of [\d,]+ changed$", re.MULTILINE | re.DOTALL)
"""A report that needs no comment, where there is none yet."""


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
        print(
            f"::notice::no comment: the API answered {error.code}. The token needs the permission "
            "pull-requests:write, which that of a fork never has. The job's summary has the report."
        )
    except (URLError, TimeoutError) as error:
        print(f"::warning::no comment: {error}. The job's summary has the report.")


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
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
