"""Run the tutorials and keep what their cells show: python -m tests.notebooks.execute.

Outputs are kept in the files, so that readers of the repository, and the site, have them without a kernel. A test runs
the tutorials again and compares.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
TUTORIALS = sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with what its cells show in a new kernel, without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    # By pipes, as a kernel on a port warns that others might listen.
    config = Config(ConnectionFileMixin={"transport": "ipc"})
    NotebookClient(notebook, config=config, timeout=300, kernel_name="python3").execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            # Whoever reads the file sees the HTML or the picture; a text beside it would only lengthen it.
            if output.get("data", {}).keys() - {"text/plain"}:
                del output.data["text/plain"]
    return notebook


def main() -> None:
    """Write the tutorials with their outputs."""
    for path in TUTORIALS:
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
