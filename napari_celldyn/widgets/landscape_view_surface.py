"""The landscape in 3-D and back: over which plane, how steep, seen from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QPushButton
from superqt.utils import qthrottled, signals_blocked

from celldyn import keys
from napari_celldyn.widgets.landscape_view_part import ViewPart, form, slider
from napari_celldyn.widgets.landscape_view_source import TRAIN
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from celldyn.landscape.surfaces import PotentialSurface
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_view_source import LandscapeSource

SHOW, BACK = "Show in 3-D", "Back to the flat tissue"
LEARNED, OF_CELLS = "learned", "of the cells"
OWN_PLANE = "differentiation state"
STEEP = 100
"""Of the slider, at exaggeration 1."""

RAISE_MS = 60


class SurfacePart(ViewPart):
    """Shows and hides the landscape.

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
        self._view = session.landscape
        self._found: dict[tuple[str, str], PotentialSurface] = {}
        self.button, self.view_button = QPushButton(SHOW), QPushButton("Reset view")
        self.plane, self.kind = QComboBox(), QComboBox()
        self.steepness = slider(0, 3 * STEEP, STEEP, "How steep the landscape is drawn")
        self.tissue = QCheckBox("with the tissue")
        self._raise = qthrottled(self._on_height, timeout=RAISE_MS)
        self._lay_out()
        self.button.clicked.connect(self._on_click)
        self.view_button.clicked.connect(self._look)
        self.tissue.clicked.connect(self._look)
        self.plane.activated.connect(self._on_choice)
        self.kind.activated.connect(self._on_choice)
        self.steepness.valueChanged.connect(lambda _value: self._raise())
        listen(self, self._view.changed, self.refresh)
        self.finish()

    def _lay_out(self) -> None:
        self.kind.addItems([LEARNED, OF_CELLS])
        self.plane.setToolTip("The plane that the landscape stands on")
        self.kind.setToolTip(
            "Heights that the model has at each place, or smoothed over the cells near it"
        )
        self.tissue.setChecked(True)
        self.tissue.setToolTip("See the tissue beside the landscape, or the landscape alone")
        for box in (self.plane, self.kind):
            policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            box.setSizeAdjustPolicy(policy)
            box.setMinimumContentsLength(6)
        fields = form()
        fields.addRow("Over", self.plane)
        fields.addRow("Heights", self.kind)
        fields.addRow("Steepness", self.steepness)
        seen = QHBoxLayout()
        seen.addWidget(self.tissue)
        seen.addWidget(self.view_button)
        self.column.addWidget(self.button)
        self.column.addLayout(fields)
        self.column.addLayout(seen)

    @property
    def key(self) -> str:
        """The chosen plane, as obsm names it; empty if there is none."""
        return str(self.plane.currentData() or "")

    def show_surface(self) -> None:
        """Draw the landscape, or start to make its surface.

        Raises
        ------
        CelldynError
            If the tissue has none.
        """
        key, kind = self.key, self._kind
        known = self._found.get((key, kind))
        if known is None:
            self._make(key, kind)
        else:
            self._show(known, key)

    def refresh(self) -> None:
        """Offer what the tissue in view has."""
        planes = self.source.planes
        held = self._view.key or self.key
        with signals_blocked(self.plane):
            self.plane.clear()
            for key in planes:
                self.plane.addItem(OWN_PLANE if key == keys.DIFF_STATE.name else key, key)
            self.plane.setCurrentIndex(max(self.plane.findData(held), 0))
        ready = self.source.has_potential and bool(planes)
        idle = self.running is None
        shown = self._view.shown
        self.button.setText(BACK if shown else SHOW)
        self.button.setEnabled(shown or (ready and idle))
        self.button.setToolTip(
            "The potential as a landscape with the cells on it; drag to turn it, click a cell"
            if ready
            else f"This tissue has no potential: {TRAIN}"
        )
        self.kind.setEnabled(self._can_decode)
        for part in (self.view_button, self.tissue):
            part.setEnabled(shown)

    def on_other_tissue(self) -> None:
        """Forget the surfaces of the tissue before, and which plane was chosen."""
        self._found.clear()
        with signals_blocked(self.plane):
            self.plane.clear()

    def on_written(self, written: frozenset[str]) -> None:
        """Forget surfaces whose potential or places are others now."""
        own = {keys.POTENTIAL.path(), keys.LANDSCAPE_INFO.path(), keys.DIFF_STATE.path(), "obsm"}
        planes = {f"obsm/{key}" for key, _ in self._found}
        if written & (own | planes):
            self._found.clear()
        if keys.DIFF_STATE.path() in written and not self._view.shown:
            with signals_blocked(self.plane):
                self.plane.clear()  # the plane of the new landscape is the one to look at

    # --- making it ----------------------------------------------------------------------------

    @property
    def _can_decode(self) -> bool:
        adata = self.workspace.adata
        if adata is None or self.key != keys.DIFF_STATE.name or not self.source.has_model:
            return False
        return bool(np.shape(adata.obsm[self.key])[1] == 2)

    @property
    def _kind(self) -> str:
        learned = self._can_decode and self.kind.currentText() == LEARNED
        return "decoded" if learned else "smoothed"

    def _make(self, key: str, kind: str) -> None:
        from celldyn.landscape.surfaces import Kind, potential_surface_job

        V = self.source.potential()
        places = np.array(self.workspace.require().obsm[key], np.float64)[:, :2]
        networks = self.source.networks() if kind == "decoded" else None
        which: Kind = "decoded" if networks is not None else "smoothed"

        def draw(surface: PotentialSurface) -> None:
            self._found[key, kind] = surface
            self._show(surface, key)

        self.run(
            "Surface of the landscape",
            lambda: potential_surface_job(networks, places, V, kind=which),
            draw,
        )

    def _show(self, surface: PotentialSurface, key: str) -> None:
        _ = self.session.landscape_mouse  # clicks in 3-D choose cells, too
        fresh = not self._view.shown
        self._view.show(surface, key)
        if fresh and not self.tissue.isChecked():
            self._look()

    # --- clicks -------------------------------------------------------------------------------

    def _on_click(self) -> None:
        if self._view.shown:
            self._view.hide()
        else:
            self.attempt(self.show_surface)

    def _on_choice(self) -> None:
        self.refresh_kind()
        if self._view.shown:
            self.attempt(self.show_surface)

    def refresh_kind(self) -> None:
        """Offer decoded heights where places can be decoded."""
        self.kind.setEnabled(self._can_decode)

    def _on_height(self) -> None:
        self._view.exaggeration = self.steepness.value() / STEEP

    def _look(self) -> None:
        self._view.look(tissue=self.tissue.isChecked())
