"""Run every published experiment and control that has not been run, and write the page of evidence.

    python benchmarks/evidence --data mnist [--only softmax self-taught]

Each run is a command of its own in a process of its own, the very one that the page names; what it gave is kept as JSON
at once, so that whoever was interrupted goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from collecting import collect


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="folder with the four files of MNIST")
    options.add_argument("--seeds", type=int, default=3, help="how often to run what takes less than ten minutes")
    options.add_argument("--only", nargs="+", default=[], help="cases and controls; several processes can share them")
    options.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="folder for the folders of the runs")
    options.add_argument(
        "--out",
        type=Path,
        default=Path("docs/evidence"),
        help="folder for figures and pictures; the page is written beside it, with .md",
    )
    arguments = options.parse_args()
    try:
        collect(arguments.data, arguments.out, arguments.runs, seeds=arguments.seeds, only=arguments.only)
    except ValueError as error:
        options.error(str(error))
    print(f"Written: {arguments.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
