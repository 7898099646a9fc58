"""Arrows of a perturbed tissue: to which states its cells go, beside the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.betas.perturbing.config import TransitionConfig
from celldyn.errors import CelldynError, DataError
from napari_celldyn.layers.arrows import Arrows
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.betas.perturbing.arrows import GridVectors, Transitions
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session

BOXES = (20, 30)
"""Along the longer side of the grid: more where the cells leave most of it empty."""

ENOUGH = 80
"""Arrows that show a flow."""

LONGEST = 2.5
"""Length of the longest arrow, in boxes."""

MIN_CELLS = 3
QUANTITY = "cell steps"
NO_EMBEDDING = "the tissue has no embedding to draw arrows on"
COMPUTE_ONE = "compute a UMAP in the Tissue dock"


class PerturbArrows(QWidget):
    """Shows and hides the arrows of one perturbed tissue; finds them in the background first.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._workspace = session, session.workspace
        self._name = ""
        self.check = QCheckBox("arrows on the embedding")
        self.check.setToolTip(
            "Which states the changed cells become more like; an arrow is the sum of the steps of "
            "the cells about it, each at most 1 long"
        )
        self.form = ConfigForm(TransitionConfig, hidden=("embedding",))
        self.parameters = Fold("Arrows: parameters")
        self.parameters.addWidget(self.form)
        self.card_place, self.sentence = CardPlace(session.runner), ErrorSentence()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.check, alignment=Qt.AlignmentFlag.AlignLeft)
        for part in (self.parameters, self.sentence, self.card_place):
            layout.addWidget(part)
        self.check.clicked.connect(self._toggle)
        listen(self, session.arrows.changed, self._on_arrows)

    def follow(self, name: str) -> None:
        """Take up another perturbed tissue; arrows of the last one go."""
        if name == self._name:
            return
        self._name = name
        self.sentence.say("")
        if self.check.isChecked():
            self._session.arrows.hide()

    def config(self, key: str) -> TransitionConfig:
        """Return the parameters as they stand, for an embedding.

        Raises
        ------
        ConfigError
            If one is wrong.
        """
        config: TransitionConfig = self.form.value(embedding=key)
        return config

    # --- clicks -------------------------------------------------------------------------------

    def _toggle(self) -> None:
        if not self.check.isChecked():
            self._session.arrows.hide()
            return
        self.sentence.say("")
        try:
            self.show_arrows()
        except CelldynError as error:
            self.sentence.say(str(error))
        self._on_arrows()

    def show_arrows(self) -> JobHandle | None:
        """Draw the arrows, or start to find them.

        Raises
        ------
        CelldynError
            If there is no embedding, or a parameter is wrong.
        """
        view = self._session.embedding
        key = view.key or next(iter(view.keys), None)
        if key is None:
            raise DataError(NO_EMBEDDING, COMPUTE_ONE)
        config = self.config(key)
        if found_with(self._workspace.require(), self._name) == config:
            self._draw(self._name, key)
            return None
        return self._submit(config)

    def _submit(self, config: TransitionConfig) -> JobHandle:
        from celldyn.betas.perturbing.arrows import prepare_transitions, transitions_job

        name = self._name
        inputs = prepare_transitions(self._workspace.require(), name, config)
        handle = self._session.runner.submit(
            f"Arrows of {name}",
            lambda: transitions_job(inputs, config),
            system="betas",
            writes={keys.BETAS_TRANSITIONS.path(name=name), keys.BETAS_ARROWS.path(name=name)},
            on_result=lambda found: self._write(found, name),
        )
        self.card_place.show_job(handle)
        return handle

    def _write(self, found: Transitions, name: str) -> None:
        from celldyn.betas.perturbing.arrows import write_transitions

        self._workspace.announce(write_transitions(self._workspace.require(), found, name))
        self.card_place.clear()
        if name == self._name:
            self._draw(name, found.config.embedding)

    def _draw(self, name: str, key: str) -> None:
        from celldyn.data import embedding

        adata, view = self._workspace.require(), self._session.embedding
        view.show(key)
        steps = np.asarray(adata.obsm[keys.BETAS_ARROWS(name=name)])[:, :2]
        grid = flow(embedding(adata, key), steps)
        drawn = Arrows(grid.points, grid.vectors, grid.scale or 1.0, QUANTITY)
        self._session.arrows.show(drawn, view)
        if self._session.arrows.layer is None:
            self.sentence.say("No cell goes anywhere: the change is too small to point.")

    def _on_arrows(self) -> None:
        self.check.setChecked(self._session.arrows.layer is not None)


def flow(xy: NDArray[np.floating], steps: NDArray[np.floating]) -> GridVectors:
    """Return the steps of the cells on a grid that is as fine as the room they fill asks for."""
    from celldyn.betas.perturbing.arrows import grid_vectors

    there = np.isfinite(xy).all(axis=1)
    least = min(MIN_CELLS, max(int(there.sum()) // ENOUGH, 1))
    side = float(np.ptp(xy[there], axis=0).max()) if there.any() else 1.0
    for n_boxes in BOXES:
        longest = LONGEST * side / n_boxes
        grid = grid_vectors(
            xy[there], steps[there], n_boxes=n_boxes, min_cells=least, length=longest
        )
        if len(grid.points) >= ENOUGH:
            break
    return grid


def found_with(adata: AnnData, name: str) -> TransitionConfig | None:
    """Return with which parameters the arrows on the AnnData were found; None without any."""
    from celldyn.data import records

    if keys.BETAS_ARROWS(name=name) not in adata.obsm:
        return None
    for step in reversed(records(adata)):
        if step.get("action") == "betas.transitions" and _name_of(step) == name:
            try:
                return TransitionConfig(**step["config"])
            except (CelldynError, KeyError, TypeError):
                return None
    return None


def _name_of(step: dict[str, Any]) -> object:
    inputs = step.get("inputs")
    return inputs.get("name") if isinstance(inputs, dict) else None
