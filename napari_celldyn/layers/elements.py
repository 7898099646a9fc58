"""Outlines, molecules and domains on the canvas, beside the cells of the tissue in view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psygnal import Signal

from celldyn import keys
from celldyn.data import (
    ElementSource,
    MoleculeTable,
    Placing,
    Polygons,
    RadialPolygons,
    element_sources,
    radial_outlines,
)
from celldyn.errors import CelldynError, DataError, MissingKeyError
from celldyn.jobs import Job, run
from napari_celldyn.layers.elements_canvas import ElementsCanvas, Shown
from napari_celldyn.layers.elements_detail import Detail
from napari_celldyn.layers.elements_loading import (
    domains_job,
    molecules_job,
    outlines_job,
    placed_domains,
)
from napari_celldyn.layers.molecules import MoleculeMarks, gene_colours
from napari_celldyn.layers.tissue import TissueView
from napari_celldyn.layers.view_region import Region, view_of
from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.jobs import JobRunner

SYSTEM = "elements"
MAX_GENES = 8
"""Genes whose molecules are shown together by choice; all of them can be shown as well."""


class ElementsView:
    """Shows what lies beside the cells, each under its name, until another tissue opens.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue.
    tissue
        Draws the cells: says where they are and which colour they have. One is made if not given.
    runner
        Runs what has to be read; without one it is read at once.
    """

    changed = Signal()
    """What is offered, what is shown, or how much of it, has changed."""

    failed = Signal(str)
    """Something could not be shown; the sentence says why."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        *,
        tissue: TissueView | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        viewer = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._runner = workspace, runner
        self._tissue = tissue or TissueView(viewer, workspace)
        self._canvas = ElementsCanvas(viewer, self._tissue)
        self._canvas.changed.connect(self.changed.emit)
        self._canvas.settled.connect(self._on_settled)
        self._simulation: Any = None
        self._sources: list[ElementSource] = []
        self._adata: object = None
        workspace.data_changed.connect(self._on_data)
        workspace.keys_changed.connect(self._on_keys)
        self._tissue.rebuilt.connect(self._on_rebuilt)
        self._on_data()

    # --- what there is ------------------------------------------------------------------------

    @property
    def sources(self) -> list[ElementSource]:
        """What the tissue in view offers."""
        return list(self._sources)

    @property
    def shown(self) -> list[str]:
        """Names of what is on the canvas, or on its way there."""
        return list(self._canvas.shown)

    def layer(self, name: str) -> Layer | None:
        """Return the napari layer of an element; None while there is none."""
        held = self._canvas.shown.get(name)
        return None if held is None else held.layer

    def genes(self, name: str) -> list[tuple[str, str]]:
        """Return the genes of shown molecules, with the colour of each."""
        held = self._canvas.shown.get(name)
        genes = [] if held is None else held.genes
        return list(zip(genes, gene_colours(len(genes)), strict=True))

    def note(self, name: str) -> str:
        """Return one line on how much of an element is drawn; empty if it is not shown."""
        held = self._canvas.shown.get(name)
        return "" if held is None else held.note

    # --- showing ------------------------------------------------------------------------------

    def show(self, name: str, genes: Sequence[str] | None = None) -> JobHandle | None:
        """Show one of the `sources`, by its name; molecules of these genes, or of all.

        Returns
        -------
        The job that reads it; None if it is on the canvas already.

        Raises
        ------
        MissingKeyError
            If the tissue offers nothing of that name.
        CelldynError
            If it cannot be read; with a runner that is announced by `failed` instead.
        """
        source = next((item for item in self._sources if item.name == name), None)
        if source is None:
            there = ", ".join(item.name for item in self._sources) or "nothing"
            raise MissingKeyError(f"there is no {name!r} to show", f"there is: {there}")
        adata, draw = self._workspace.require(), self._canvas
        again = partial(self.show, name, genes)
        if source.kind == "molecules":
            where = self._simulation if source.path is None else source.path
            return self.show_molecules(name, where, genes)
        if source.kind == "domains" and source.path is None:
            return self.show_domains(_named(self._simulation.domains), name)
        if source.kind == "domains":
            job = partial(domains_job, source, self._placing())
            return self._load(Shown(name, "domains", again), job, draw.draw_domains)
        if source.path is None:
            held = radial_outlines(adata, name, self._tissue.display_xy)
            job = partial(outlines_job, held, np.arange(adata.n_obs))
        else:
            job = partial(outlines_job, source, placing=self._placing())
        return self._load(Shown(name, _rank(name), again), job, draw.draw_outlines)

    def show_outlines(
        self,
        name: str,
        outlines: Polygons | RadialPolygons,
        cells: NDArray[np.integer] | None = None,
    ) -> JobHandle | None:
        """Show outlines, in the coordinates of the cells as drawn.

        Parameters
        ----------
        name
            What to call them; nuclei are told by it.
        outlines
            The outlines.
        cells
            (n,) the cell of each, -1 for none, to colour them by; None leaves them plain.
        """
        job = partial(outlines_job, outlines, cells)
        return self._load(Shown(name, _rank(name)), job, self._canvas.draw_outlines)

    def show_molecules(
        self,
        name: str,
        molecules: pd.DataFrame | MoleculeTable | Path | str | Any,  # noqa: ANN401
        genes: Sequence[str] | None = None,
    ) -> JobHandle | None:
        """Show molecules: of some genes each in its colour, or of all.

        Parameters
        ----------
        name
            What to call them; for a path also what they are called there.
        molecules
            A table with columns x, y, feature_name in the coordinates of the tissue, perhaps
            is_leaked, section, cell_id; or where one is stored; or a simulation.
        genes
            At most eight; None shows all.

        Raises
        ------
        DataError
            If more genes are named, or none.
        """
        if genes is not None and not 0 < len(genes) <= MAX_GENES:
            raise DataError(
                f"{len(genes)} genes were chosen", f"choose 1 to {MAX_GENES}, or show all"
            )
        placing = self._placing()
        again = partial(self.show_molecules, name, molecules, genes)
        shown = Shown(name, "molecules", again, genes=list(genes or ()))
        job = partial(molecules_job, molecules, name, genes=genes, placing=placing)

        def draw(shown: Shown, marks: MoleculeMarks) -> None:
            if isinstance(molecules, str | Path) and len(marks.table) < marks.table.total:
                shown.detail = Detail(marks, partial(self._read_part, shown, job, placing))
            self._canvas.draw_molecules(shown, marks)

        return self._load(shown, job, draw)

    def show_domains(self, domains: Mapping[str, Any], name: str = "domains") -> None:
        """Show named outlines (shapely), a few, in the coordinates of the tissue."""
        placing = self._placing()
        self.hide(name)
        shown = Shown(name, "domains", partial(self.show_domains, domains, name))
        self._canvas.shown[name] = shown
        self._canvas.draw_domains(shown, placed_domains(dict(domains), placing))

    def show_simulation(self, simulation: Any) -> None:  # noqa: ANN401
        """Show the cells and nuclei of a simulation whose AnnData is in view.

        Its molecules and domains join the `sources`: they are made when they are shown.

        Parameters
        ----------
        simulation
            What `simulate_job` returned; its outlines are the radii in its AnnData.
        """
        self._simulation = simulation
        self._find_sources()
        for item in self._sources:
            if item.kind == "outlines" and item.path is None:
                self.show(item.name)
        self.changed.emit()

    def hide(self, name: str) -> None:
        """Take an element away; one that is still being read is read no further."""
        shown = self._canvas.shown.pop(name, None)
        if shown is not None:
            if shown.handle is not None and not shown.handle.state.over:
                shown.handle.cancel()
            self._canvas.remove(shown)

    def hide_all(self) -> None:
        """Take everything away."""
        for name in self.shown:
            self.hide(name)

    def close(self) -> None:
        """Take everything away and stop listening."""
        self.hide_all()
        self._canvas.close()
        self._workspace.data_changed.disconnect(self._on_data)
        self._workspace.keys_changed.disconnect(self._on_keys)
        self._tissue.rebuilt.disconnect(self._on_rebuilt)

    def _placing(self) -> Placing:
        return Placing.of(self._workspace.require(), self._tissue.display_xy)

    # --- reading ------------------------------------------------------------------------------

    def _load(
        self, shown: Shown, job: Callable[[], Job[Any]], draw: Callable[[Shown, Any], object]
    ) -> JobHandle | None:
        self.hide(shown.name)
        self._canvas.shown[shown.name] = shown

        def finish(result: Any) -> None:  # noqa: ANN401
            if self._canvas.shown.get(shown.name) is shown:  # not hidden, not another tissue
                draw(shown, result)

        if self._runner is None:
            try:
                finish(run(job(), bar=False))
            except CelldynError:
                self._canvas.shown.pop(shown.name, None)
                raise
            return None
        shown.handle = self._submit(shown, job, finish)
        self.changed.emit()
        return shown.handle

    def _submit(
        self, shown: Shown, job: Callable[[], Job[Any]], finish: Callable[[Any], object]
    ) -> JobHandle:
        runner = self._runner
        assert runner is not None
        handle = runner.submit(f"Show {shown.name}", job, system=SYSTEM, on_result=finish)

        def over(_state: object) -> None:
            if handle.error:
                if shown.layer is None and self._canvas.shown.get(shown.name) is shown:
                    del self._canvas.shown[shown.name]
                self.failed.emit(handle.error)
                self.changed.emit()
            runner.dismiss(handle)
            # PySide holds on to what is connected, and so would the view outlive its viewer.
            handle.progressed.disconnect(tell)
            handle.finished.disconnect(over)

        def tell(_progress: object) -> None:
            self.changed.emit()

        handle.progressed.connect(tell)
        handle.finished.connect(over)
        return handle

    def _read_part(
        self, shown: Shown, job: Callable[..., Job[Any]], placing: Placing, region: Region
    ) -> None:
        """Read every molecule of a region and draw them in place of the sample."""
        part = partial(job, region=placing.origin_of(region))

        def finish(marks: MoleculeMarks) -> None:
            if shown.detail is not None and self._canvas.shown.get(shown.name) is shown:
                shown.detail.take(marks, region)
                self._on_settled()

        if self._runner is None:
            finish(run(part(), bar=False))
        else:
            self._submit(shown, part, finish)

    def _on_settled(self) -> None:
        for shown in list(self._canvas.shown.values()):
            if shown.detail is not None and shown.layer is not None and shown.layer.visible:
                view = view_of(self._canvas.viewer, shown.layer).region
                self._canvas.exchange_molecules(shown, shown.detail.look(view))

    # --- following the tissue -----------------------------------------------------------------

    def _on_data(self) -> None:
        self.hide_all()
        self._simulation = None
        self._find_sources()
        self.changed.emit()

    def _find_sources(self) -> None:
        workspace = self._workspace
        adata = self._adata = workspace.adata
        self._sources = []
        if adata is None:
            return
        self._sources = element_sources(adata, workspace.path or workspace.origin)
        if self._simulation is not None:
            known = {item.name for item in self._sources}
            made = [ElementSource("transcripts", "molecules")]
            if getattr(self._simulation.config, "n_domains", 1) > 1:
                made.append(ElementSource("domains", "domains"))
            self._sources += [item for item in made if item.name not in known]

    def _on_keys(self, written: frozenset[str]) -> None:
        if written & {keys.CELL_RADII.path(), keys.NUCLEUS_RADII.path()}:
            self._find_sources()
            for item in self._sources:
                if item.path is None and item.kind == "outlines" and item.name in self.shown:
                    self.show(item.name)
            self.changed.emit()

    def _on_rebuilt(self) -> None:
        """Follow cells that are drawn elsewhere: another unit, or sections laid out anew."""
        if self._adata is not self._workspace.adata or self._tissue.layer is None:
            return
        for shown in list(self._canvas.shown.values()):
            if shown.again is None:
                self.hide(shown.name)
            else:
                shown.again()


def _rank(name: str) -> str:
    return "nuclei" if "nucle" in name.casefold() else "cells"


def _named(domains: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the domains of all sections, each under its name and its section's number."""
    if isinstance(domains, Mapping):
        return dict(domains)
    if len(domains) == 1:
        return dict(domains[0])
    return {
        f"{name} [{k}]": shape for k, held in enumerate(domains) for name, shape in held.items()
    }
