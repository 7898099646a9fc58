"""What the VAE found on the tissue in view: its latent space, ambient RNA and dispersions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vae_denoise import Denoise
from napari_celldyn.widgets.vae_umap import LatentUmap

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

    from celldyn.vae import StoredVAE
    from napari_celldyn.session import Session

_SKIPPED = 0.1
"""Share of the epochs, the first, that the figure of the training leaves out."""


class VAEResults(QWidget):
    """Shows a fitted model, made now or come with the file: both are read off the AnnData.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = session.workspace
        self.stored: StoredVAE | None = None
        self.summary = wrapped()
        self.modality = QComboBox()
        self.modality.setToolTip("Whose ambient RNA and dispersions are shown")
        self.shares = FrameTable()
        self.shares.setToolTip("Which share of the counts is ambient RNA, and its interval")
        self.umap = LatentUmap(session)
        self.denoise = Denoise(session.workspace, session.runner)
        self.sentence = ErrorSentence()
        self.buttons = {name: QPushButton(name) for name in _FIGURES}
        self.colours = {name: QPushButton(name) for name in _COLOURS}
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self._head = QFormLayout()
        self._head.addRow("modality", self.modality)
        tools = QGridLayout()
        for k, each in enumerate((*self.buttons.values(), *self.colours.values())):
            tools.addWidget(each, k // 2, k % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(self.umap)
        layout.addLayout(self._head)
        layout.addWidget(self.shares)
        layout.addLayout(tools)
        layout.addWidget(self.sentence)
        layout.addWidget(QLabel("Expression without noise"))
        layout.addWidget(self.denoise)

    def _connect(self) -> None:
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, name=name: self.show_figure(name))
        for name, button in self.colours.items():
            button.clicked.connect(lambda _=False, name=name: self._colour_by(name))
        self.modality.currentTextChanged.connect(self._show)
        listen(self, self._workspace.data_changed, self.refresh)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- what there is ------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again what the tissue has."""
        self.sentence.say("")
        found = self.stored = self._read()
        with signals_blocked(self.modality):
            self.modality.clear()
            self.modality.addItems([] if found is None else list(found.modalities))
        several = self.modality.count() > 1
        self.modality.setVisible(several)
        if (label := self._head.labelForField(self.modality)) is not None:
            label.setVisible(several)
        self.setVisible(found is not None or bool(self.sentence.text()))
        self._show()

    def _read(self) -> StoredVAE | None:
        adata = self._workspace.adata
        home = {} if adata is None else adata.uns.get(keys.CELLDYN.name, {})
        if adata is None or keys.VAE_INFO.name not in home:
            return None
        from celldyn.vae import stored

        try:
            return stored(adata)
        except CelldynError as error:
            self.sentence.say(str(error))
            return None

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.LATENT.path() in written:
            self.refresh()

    def _show(self, *_: object) -> None:
        found, adata = self.stored, self._workspace.adata
        self.summary.setText("" if found is None or adata is None else in_words(found, adata))
        shares = pd.DataFrame() if found is None else share_frame(found.shares)
        self.shares.show_frame(shares)
        self.shares.setVisible(bool(len(shares)))
        modality = self.modality.currentText()
        for name, button in self.buttons.items():
            _enable(
                button, _FIGURES[name][0], found is not None and _can_draw(name, found, modality)
            )
        for name, button in self.colours.items():
            there = adata is not None and _COLOURS[name][1] in adata.obs
            _enable(button, _COLOURS[name][0], there)

    # --- clicks -------------------------------------------------------------------------------

    def show_figure(self, name: str) -> None:
        """Show one of the figures in a window of its own."""
        from napari_celldyn.widgets.figure_window import FigureWindow

        self.sentence.say("")
        if self.stored is None:
            return
        try:
            figure = _FIGURES[name][1](self.stored, self.modality.currentText())
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        FigureWindow(figure, f"VAE {name.removesuffix('…').lower()}", self).show()

    def _colour_by(self, name: str) -> None:
        from celldyn.data import Source

        self._workspace.colour = Source("obs", _COLOURS[name][1])


def _training(stored: StoredVAE, _modality: str) -> Figure:
    from celldyn.plots.vae import plot_training

    skipped = int(_SKIPPED * len(stored.history))
    return plot_training(stored.history, skipped, best_epoch=stored.best_epoch)


def _ambient(stored: StoredVAE, modality: str) -> Figure:
    from celldyn.plots.vae import plot_ambient_profile

    table = stored.background[modality]
    return plot_ambient_profile(table.to_numpy(), list(map(str, table.columns)), list(table.index))


def _shares(stored: StoredVAE, _modality: str) -> Figure:
    from celldyn.plots.vae import plot_ambient_shares

    return plot_ambient_shares(stored.shares)


def _dispersion(stored: StoredVAE, modality: str) -> Figure:
    from celldyn.plots.vae import plot_dispersion

    table = stored.dispersion[modality]
    part = stored.fitted().module.part(stored.modalities.index(modality))
    learned = part.features.rate.detach().numpy() ** 2  # λ, as training left it
    equilibrium = list(map(float, learned)) if part.features.config.regularise_dispersion else None
    return plot_dispersion(table.to_numpy(), list(map(str, table.columns)), equilibrium)


def _attribution(stored: StoredVAE, _modality: str) -> Figure:
    from celldyn.plots.vae import plot_attribution

    return plot_attribution(stored.attribution, stored.latent_slices)


_FIGURES: dict[str, tuple[str, Callable[[StoredVAE, str], Figure]]] = {
    "Training…": ("Every term of the loss over the epochs", _training),
    "Ambient RNA…": ("The genes of which there is most ambient RNA", _ambient),
    "Shares…": ("Which share of the counts is ambient RNA", _shares),
    "Dispersion…": ("How the genes' inverse dispersions are distributed", _dispersion),
    "Attribution…": ("Which latent dimensions the decoder uses", _attribution),
}
_COLOURS = {
    "Library size": ("Colour by the learned library size", keys.VAE_LIBRARY.name),
    "Ambient share": ("Colour by the share that is ambient RNA", keys.VAE_BACKGROUND_SHARE.name),
}


def _enable(button: QPushButton, tip: str, is_there: bool) -> None:  # noqa: FBT001
    button.setEnabled(is_there)
    button.setToolTip(tip if is_there else f"{tip}: this model has none")


def _can_draw(name: str, stored: StoredVAE, modality: str) -> bool:
    """Whether the model has what a figure shows."""
    if name == "Training…":
        return len(stored.history) > 0
    if name == "Shares…":
        return len(stored.shares) > 0
    if name == "Attribution…":
        return bool(stored.attribution)
    return modality in (stored.background if name == "Ambient RNA…" else stored.dispersion)


def share_frame(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the ambient share of each group in percent, with its interval in words."""
    percent = (100 * shares[["share", "low", "high"]]).round(1)
    between = [
        f"{low:g} – {high:g}" for low, high in zip(percent["low"], percent["high"], strict=True)
    ]
    return pd.DataFrame(
        {"group": shares["group"].astype(str), "ambient %": percent["share"], "between": between}
    )


def in_words(stored: StoredVAE, adata: AnnData) -> str:
    """Say what was fitted, in a few sentences."""
    n_epochs = len(stored.history)
    words = f"{adata.obsm[keys.LATENT.name].shape[1]} latent dimensions, {n_epochs} epochs"
    if stored.best_epoch is not None:
        words += f", best held-out loss in epoch {stored.best_epoch + 1}"
    return " ".join([f"{words}.", *stored.notes])
