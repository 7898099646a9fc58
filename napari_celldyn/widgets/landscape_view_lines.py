"""Streamlines of the flow, on whatever the cells are drawn on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout
from superqt.utils import qdebounced

from celldyn import keys
from celldyn.errors import DataError
from celldyn.jobs import Job
from napari_celldyn.layers.streamlines import Style
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_view_part import ViewPart, form, slider
from napari_celldyn.widgets.landscape_view_source import TRAIN
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from celldyn.landscape.graph import Matrix
    from celldyn.landscape.networks import Networks
    from celldyn.landscape.streams import Streamlines
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_view_source import LandscapeSource

FIELD, CHANCES = "the field −∇V", "chances of transitions"
PLAIN, BY_SPEED = "plain", "by speed"
TISSUE = ""
"""Stands for the tissue among the keys of embeddings."""

AT_1 = 10
"""Of the sliders, at a density or a width of 1."""

SETTLE_MS = 350


class LinesPart(ViewPart):
    """Shows and hides streamlines; finds them in the background first.

    Parameters
    ----------
    session
        What the viewer's docks share.
    source
        What the tissue has.
    """

    def __init__(
        self, session: Session, source: LandscapeSource, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, source, parent)
        self._views = session.streamlines
        self._found: dict[tuple[str, str, int], Streamlines] = {}
        self.states, self.tissue = QCheckBox("among the states"), QCheckBox("in the tissue")
        self.way, self.colour = QComboBox(), QComboBox()
        self.density = slider(5, 30, AT_1, "How close lines are to each other")
        self.breadth = slider(4, 30, AT_1, "How wide lines are where the flow is fast")
        self.speed = wrapped()
        self._soon = qdebounced(self._follow, timeout=SETTLE_MS)
        self._lay_out()
        self.states.clicked.connect(self._on_states)
        self.tissue.clicked.connect(self._follow)
        self.way.activated.connect(self._follow)
        self.density.valueChanged.connect(lambda _value: self._soon())
        self.breadth.valueChanged.connect(lambda _value: self._restyle())
        self.colour.activated.connect(self._restyle)
        for view in (session.embedding, session.landscape):
            listen(self, view.changed, self._follow)
        for lines in self._views.values():
            listen(self, lines.changed, self._tell)
        self.finish()

    def _lay_out(self) -> None:
        self.states.setToolTip("On the landscape, and on the embedding beside the tissue")
        self.tissue.setToolTip("Where cells lie in no order of their states there is no line")
        self.way.setToolTip(
            "The learned field projected on what is drawn, or the chances of going from each cell "
            "to its neighbours"
        )
        self.colour.addItems([PLAIN, BY_SPEED])
        where = QHBoxLayout()
        where.addWidget(self.states)
        where.addWidget(self.tissue)
        fields = form()
        fields.addRow("Of", self.way)
        fields.addRow("Density", self.density)
        fields.addRow("Width", self.breadth)
        fields.addRow("Colour", self.colour)
        self.column.addLayout(where)
        self.column.addLayout(fields)
        self.column.addWidget(self.speed)

    def refresh(self) -> None:
        """Offer what the tissue in view has."""
        ways = self._ways()
        if [self.way.itemText(i) for i in range(self.way.count())] != ways:
            self.way.clear()
            self.way.addItems(ways)
        for box in (self.states, self.tissue):
            box.setEnabled(bool(ways))
            if not ways:
                box.setChecked(False)
        self.way.setEnabled(len(ways) > 1)
        self._tell()

    def on_other_tissue(self) -> None:
        """Forget the lines of the tissue before."""
        self._found.clear()

    def on_written(self, written: frozenset[str]) -> None:
        """Forget lines of a flow or of places that are others now."""
        own = {keys.CELL_STATE.path(), keys.VELOCITY.path(), keys.TRANSITIONS.path(), "obsm"}
        places = {f"obsm/{key}" for key, *_ in self._found}
        if written & (own | places | {keys.LANDSCAPE_INFO.path()}):
            self._found.clear()
            for view in self._views.values():
                view.hide()
            self._follow()

    # --- which lines where --------------------------------------------------------------------

    def _ways(self) -> list[str]:
        adata = self.workspace.adata
        if adata is None:
            return []
        has_field = keys.CELL_STATE.name in adata.obsm and (
            keys.VELOCITY.name in adata.obsm or self.source.has_model
        )
        has_chances = keys.TRANSITIONS.name in adata.obsp
        return [*([FIELD] if has_field else []), *([CHANCES] if has_chances else [])]

    def _on_states(self) -> None:
        embedding, landscape = self.session.embedding, self.session.landscape
        if self.states.isChecked() and not landscape.shown and embedding.key is None:
            planes = self.source.planes
            if planes:
                self.attempt(lambda: embedding.show(planes[0]))  # which calls `_follow`
                return
        self._follow()

    def _follow(self) -> None:
        """Draw what is asked for on what is drawn; find lines that are not known yet."""
        embedding, landscape = self.session.embedding, self.session.landscape
        wanted: dict[str, str] = {}
        if self.states.isChecked():
            if embedding.key is not None:
                wanted["embedding"] = embedding.key
            if landscape.shown:
                wanted["landscape"] = landscape.key
        if self.tissue.isChecked():
            wanted["tissue"] = TISSUE
        missing = []
        for where, view in self._views.items():
            if where not in wanted:
                away = where == "embedding" and landscape.shown  # it comes back with its lines
                if not (away and self.states.isChecked()):
                    view.hide()
                continue
            found = self._found.get(self._name(wanted[where]))
            if found is None:
                missing.append(wanted[where])
            else:
                view.show(found.lines, found.speeds, wanted[where] or None)
        if missing:
            self.attempt(lambda: self._find(missing[0]))
        self._tell()

    def _name(self, key: str) -> tuple[str, str, int]:
        return key, self.way.currentText(), self.density.value()

    def _find(self, key: str) -> None:
        name = self._name(key)
        make = self._job_of(key)

        def draw(found: Streamlines) -> None:
            self._found[name] = found
            if not len(found):
                place = "tissue" if key == TISSUE else "embedding"
                self.sentence.say(f"No line: cells near each other on the {place} go all ways.")
            self._follow()

        self.run("Streamlines", make, draw)

    def _job_of(self, key: str) -> Callable[[], Job[Streamlines]]:
        density, way = self.density.value() / AT_1, self.way.currentText()
        tissue = self.session.tissue.display_xy
        adata, graph = self.workspace.require(), self.source.graph()
        places = np.array(tissue if key == TISSUE else adata.obsm[key], np.float64)[:, :2]
        if way == CHANCES:
            chances = self.source.graph(keys.TRANSITIONS.name)
            return lambda: _along_chances_job(chances, places, graph, density)
        if way != FIELD:
            raise DataError("it is not known which way cells go", TRAIN)
        z, velocity = self.source.states(), self.source.velocity()
        networks = self.source.networks() if velocity is None else None
        near = None if key == TISSUE else graph  # in the tissue those who lie near count
        return lambda: _along_field_job(z, velocity, networks, places, near, density)

    # --- style --------------------------------------------------------------------------------

    def _restyle(self) -> None:
        colour = "speed" if self.colour.currentText() == BY_SPEED else "ink"
        for view in self._views.values():
            view.style = replace(Style(), width=self.breadth.value() / AT_1, colour=colour)
        self._tell()

    def _tell(self) -> None:
        """Say what a width and a colour mean: there is no line without its measure."""
        per = "" if self.way.currentText() == CHANCES else " a unit of time"
        said = [
            f"{speeds[0]:.2g} to {speeds[1]:.2g}{per} on the {where}"
            for where, view in self._views.items()
            if (speeds := view.speeds) is not None
        ]
        ends = "pale to red" if self.colour.currentText() == BY_SPEED else "thin to wide"
        self.speed.setText(f"Speed, {ends}: {'; '.join(said)}." if said else "")
        self.speed.setVisible(bool(said))


def _along_field_job(
    z: NDArray[np.float32],
    velocity: NDArray[np.float32] | None,
    networks: Networks | None,
    places: NDArray[np.float64],
    graph: Matrix | None,
    density: float,
) -> Job[Streamlines]:
    """Find lines of −∇V on some places of the cells."""
    from celldyn.landscape.projecting import project_velocity_job
    from celldyn.landscape.streams import streamlines_job

    if velocity is None:
        assert networks is not None
        velocity = _downhill(networks, z)
    arrows = yield from project_velocity_job(z, velocity, places, graph)
    return (yield from streamlines_job(places, arrows, density=density))


def _along_chances_job(
    chances: Matrix, places: NDArray[np.float64], graph: Matrix | None, density: float
) -> Job[Streamlines]:
    """Find lines along the likeliest steps from cell to cell."""
    from celldyn.landscape.projecting import project_transitions_job
    from celldyn.landscape.streams import streamlines_job

    arrows = yield from project_transitions_job(chances, places, graph)
    return (yield from streamlines_job(places, arrows, density=density))


def _downhill(networks: Networks, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return −∇V at the states."""
    import torch

    with torch.no_grad():
        gradient = networks.potential.gradient(torch.from_numpy(z))
    return np.asarray(-gradient.numpy())
