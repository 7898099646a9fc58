"""What the commands share: where the result goes, and how it is told."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def say(text: str) -> None:
    """Print a line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def add_output(
    parser: argparse.ArgumentParser,
    what: str = "the .h5ad or .zarr to write",
    *,
    required: bool = True,
) -> None:
    """Give a command the options -o and -q."""
    parser.add_argument("-o", "--output", type=Path, required=required, help=what)
    parser.add_argument("-q", "--quiet", action="store_true", help="draw no progress bar")
