"""Jupyter notebooks as pages, as they are stored: nothing is run, and nothing of Jupyter is needed."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def _output(output: dict[str, Any]) -> str:
    """What a cell shows: its HTML, else its picture, else its text."""
    shown = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in shown:
        shown["text/html"] = f'<img alt="" src="data:image/png;base64,{shown["image/png"].strip()}">'
    if "text/html" in shown:
        return f'``````{{raw}} html\n<div class="cell-output">{shown["text/html"]}</div>\n``````'
    return f"```text\n{shown.get('text/plain', ''.join(output.get('text', ''))).rstrip()}\n```"


def _markdown(notebook: dict[str, Any]) -> str:
    """The notebook's cells, one after the other."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", []) if output["output_type"] != "error"]
    return "\n\n".join(parts)


class NotebookParser(MystParser):
    """Parses a notebook as the Markdown that it comes to."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document."""
        super().parse(_markdown(json.loads(inputstring)), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx read files that end in .ipynb."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
