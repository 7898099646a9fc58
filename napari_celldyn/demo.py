"""The main job, in a window: open a tissue, fit a gene, show its coefficients on the cells."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from celldyn.data import samples
from celldyn.errors import CelldynError
from napari_celldyn.opening import PLUGIN, land, read_tissue, save, session

if TYPE_CHECKING:
    import napari

    from celldyn.data import Source
    from napari_celldyn.handle import JobHandle

SAMPLE, SAMPLE_GENE = "two_niches", "Target1"
_SETTLE_MS = 2500
"""What the window needs to draw the last layer before its picture is taken."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; on a virtual screen leave a picture and the result, and end."""
    options = _parse(arguments)
    import napari

    viewer = napari.Viewer(title="napari-celldyn")
    viewer.window.resize(1500, 950)
    ends = "CELLDYN_VIRTUAL_SCREEN" in os.environ
    outcome = _Outcome(viewer, options, ends=ends)
    try:
        handle = start(viewer, options.data, options.gene)
        outcome.types = session(viewer).workspace.colour
    except CelldynError as error:
        _say(str(error))
        viewer.close()
        return 2
    handle.finished.connect(outcome.on_finished)
    napari.run()
    return outcome.status


def start(viewer: napari.Viewer, data: Path | None, gene: str | None) -> JobHandle:
    """Open the tissue and its docks, fill in the betas dock, and click Run.

    Parameters
    ----------
    viewer
        A napari viewer with a window.
    data
        The user's file; None is the sample.
    gene
        The target; None lets the data propose one (the sample has its own).

    Raises
    ------
    CelldynError
        If the tissue cannot be opened or the gene cannot be modelled.
    """
    from napari_celldyn.widgets.betas import BetasWidget

    if data is None:
        land(viewer, samples.load(SAMPLE), None, origin=samples.path(SAMPLE))
    else:
        land(viewer, read_tissue(data), data)
    workspace = session(viewer).workspace
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Spatial betas")
    assert isinstance(widget, BetasWidget)
    widget.propose(gene or (SAMPLE_GENE if data is None else None))
    workspace.colour = widget.labels_source()
    handle = widget.run()
    if handle is None:
        raise CelldynError(widget.sentence.text().rstrip("."))
    return handle


class _Outcome:
    """What happens when the window stands, and when the fit has ended."""

    def __init__(self, viewer: napari.Viewer, options: argparse.Namespace, *, ends: bool) -> None:
        self._viewer, self._options, self._ends = viewer, options, ends
        self.types: Source | None = None
        self.status = 0

    def on_finished(self, _state: object) -> None:
        """Leave the window to the user, or picture it and end."""
        session(self._viewer).tissue.reset_view()
        if self._ends:
            QTimer.singleShot(_SETTLE_MS, self._keep_result)

    def _keep_result(self) -> None:
        place = session(self._viewer)
        failures = [handle.error for handle in place.runner.handles if handle.error]
        result = self._options.out / f"{self._stem()}_betas.h5ad"
        try:
            save(place.workspace, result)
        except CelldynError as error:
            failures.append(str(error))
        if failures:
            self._end(failures)
            return
        _say(f"the tissue with its betas: {result}")
        self._picture("window.png", "the map of a beta")
        place.workspace.colour = self.types
        QTimer.singleShot(_SETTLE_MS, self._keep_types)

    def _keep_types(self) -> None:
        self._picture("window_types.png", "the cell types")
        self._end([])

    def _picture(self, name: str, what: str) -> None:
        path = self._options.out / name
        self._viewer.screenshot(str(path), canvas_only=False, flash=False)
        _say(f"the window with {what}: {path}")

    def _end(self, failures: list[str]) -> None:
        for sentence in failures:
            _say(sentence)
            self.status = 1
        self._viewer.close()

    def _stem(self) -> str:
        return SAMPLE if self._options.data is None else self._options.data.stem


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="napari_celldyn.demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="your tissue; none is the sample")
    parser.add_argument("--gene", help="target gene; none lets the data propose one")
    parser.add_argument(
        "--out", type=Path, default=Path("celldyn-out"), help="folder of picture and result"
    )
    return parser.parse_args(arguments)


def _say(sentence: str) -> None:
    sys.stdout.write(f"celldyn: {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
