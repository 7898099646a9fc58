"""What a landscape holds, made now or come with the file: colours, fates, changes of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.drawer import Drawer
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_fate_view import as_sentence
from napari_celldyn.widgets.landscape_fates import LandscapeFates
from napari_celldyn.widgets.landscape_perturb import LandscapePerturb
from napari_celldyn.widgets.landscape_screen import LandscapeScreen
from napari_celldyn.widgets.landscape_view import ColourPart, LandscapeView
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.landscape.fitted import FittedLandscape
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_ensemble import Models
    from napari_celldyn.widgets.landscape_model import ModelShelf


class LandscapeResults(QWidget):
    """Shows a landscape that is on the AnnData, and asks it what cells do; hidden without one.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The model of the tissue in view.
    """

    def __init__(self, session: Session, shelf: ModelShelf, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._shelf = session.workspace, shelf
        self.summary, self.sentence = wrapped(), ErrorSentence()
        self.colour = ColourPart(session)
        self.view = LandscapeView(session, colours=False)
        self.fates = LandscapeFates(session, shelf)
        self.perturb = LandscapePerturb(session, shelf)
        self.screen = LandscapeScreen(session, shelf, self.perturb)
        self.drawers = {
            "Look at it": Drawer("Look at it", self.view),
            "Fates": Drawer("Fates", self.fates),
            "Perturb": Drawer("Perturb", self.perturb),
            "Screen": Drawer("Screen all genes", self.screen),
        }
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        heading = QLabel("<b>Results</b>")
        parts = (heading, self.summary, self.sentence, self.colour, *self.drawers.values())
        for part in parts:
            column.addWidget(part)
        listen(self, self._workspace.data_changed, self.refresh)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self.refresh()

    def refresh(self) -> None:
        """Look again what the tissue has."""
        self.sentence.say("")
        adata = self._workspace.adata
        there = adata is not None and keys.POTENTIAL.name in adata.obs
        self.setVisible(there)
        self.summary.setText(self._in_words() if there else "")
        self.view.refresh()

    def use(self, models: Models) -> None:
        """Take a model that is at hand, rather than read it off the AnnData."""
        self._shelf.keep(models)
        self.view.use(models[0].networks)
        self.summary.setText(self._in_words())

    def _on_keys(self, written: frozenset[str]) -> None:
        if written & {keys.LANDSCAPE_INFO.path(), keys.POTENTIAL.path()}:
            self.refresh()

    def _in_words(self) -> str:
        """Say what was learned, in a few sentences."""
        models = self._shelf.models
        if models:
            n = len(models)
            several = f"{n} models, asked together; the first is shown. " if n > 1 else ""
            return several + in_words(models[0].fitted)
        if not self._shelf.is_there:
            return "Potential without its model: it can be looked at, and not asked."
        from celldyn.landscape.results import read_model

        try:
            return in_words(read_model(self._workspace.require()).fitted)
        except CelldynError as error:
            self.sentence.say(str(error))
            return ""


def in_words(fitted: FittedLandscape) -> str:
    """Say what was learned, for how long, and what to know of it."""
    words = (
        f"{fitted.cfg.model.z_dim} dimensions, {len(fitted.genes):,} genes, "
        f"{fitted.epoch:,} epochs"
    )
    if fitted.best_epoch is not None:
        words += f", best held-out loss in epoch {fitted.best_epoch + 1:,}"
    return " ".join([f"{words}.", *map(as_sentence, fitted.notes)])
