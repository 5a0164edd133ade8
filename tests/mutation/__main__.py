"""Draws mutants of the counting code, runs the tests of each, and prints which survive."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--where", nargs="+", help="files and folders to draw from; all counting code unless given")
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests that each mutant is run against")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the drawn mutants to run again")
    parser.add_argument("--measure", action="store_true", help="measure again which tests run which lines, then stop")
    options = parser.parse_args()
    if find_spec("cosmic_ray") is None or find_spec("coverage") is None:
        parser.error("needs the extra for it: pip install -e '.[mutation]'")
    if options.measure:
        # Nothing of costmodel may be imported before coverage starts.
        from tests.mutation.covering import measure

        measure()
        return
    from tests.mutation.draw import COUNTING
    from tests.mutation.run import run

    where = [str(Path(place)) for place in options.where or COUNTING]
    run(options.seed, options.count, where, options.budget, options.only)


if __name__ == "__main__":
    main()
