"""Writes the reports of this repository anew. The same library writes the same bytes.

Nothing is downloaded, and nothing is measured: what was measured on some machine is read from reports/measured/.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

REPORTS = ("classics", "crosscheck", "published", "notes", "guidelines", "training", "speed")
"""Each is made by the file of its name beside this one."""

ROOT = Path(__file__).resolve().parents[1]


def files(report: str) -> dict[str, bytes]:
    """What a report consists of: the contents of its files by their names."""
    made: dict[str, bytes] = import_module(f"reports.{report}").files()
    return made


def main() -> None:
    """Writes the reports that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "reports", help="where to write them (reports/)")
    parser.add_argument("--only", choices=REPORTS, action="append", help="write this report alone; can be repeated")
    arguments = parser.parse_args()
    for report in arguments.only or REPORTS:
        for name, content in files(report).items():
            target = arguments.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            print(f"wrote {target}")


if __name__ == "__main__":
    # The repository takes the place of this script's own folder, whose files would hide others of their names: they are
    # imported as reports.notes and so on, and costmodel is this checkout's.
    sys.path[0] = str(ROOT)
    main()
