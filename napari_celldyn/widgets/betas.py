"""The dock of spatial betas: choose a gene, fit it in the background, read its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from celldyn import keys
from celldyn.betas.config import BetasConfig
from celldyn.errors import CelldynError, ConfigError
from napari_celldyn.networks import NetworkShelf
from napari_celldyn.session import session
from napari_celldyn.widgets.beta_results import BetaResults
from napari_celldyn.widgets.betas_source import FIELDS, BetasSource
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.job_card import JobCard
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.score_board import ScoreBoard
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.betas import BetasResult, Found
    from celldyn.data import Source
    from napari_celldyn.handle import JobHandle

_FOUND_AFTER_MS = 300
"""The modulators are looked up when the user has been still for this long."""


class BetasWidget(Dock):
    """Fits the betas of one gene and shows them on the tissue.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    WIDTH = 320

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        place = session(napari_viewer)
        self._workspace, self._runner = place.workspace, place.runner
        _ = place.tissue  # what the maps are drawn on
        self.source = BetasSource(self._workspace)
        self.form = ConfigForm(BetasConfig, hidden=FIELDS)
        self.parameters = Fold("Parameters")
        self.parameters.addWidget(self.form)
        self.found = QLabel()
        self.found.setWordWrap(True)
        self.found.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sentence = ErrorSentence()
        self.run_button = QPushButton("Run")
        self.board = ScoreBoard()
        self.results = BetaResults(self._workspace)
        self.card: JobCard | None = None
        self._networks = NetworkShelf()
        self.fill(
            (
                ("Model a gene from its regulators and its neighbours' signals", self.source),
                ("", self.parameters),
                ("", self.found),
                ("", self.sentence),
                ("", self.run_button),
                ("", self.board),
                ("Results", self.results),
            )
        )
        self._finding = QTimer(self)
        self._finding.setSingleShot(True)
        self._finding.setInterval(_FOUND_AFTER_MS)
        self._finding.timeout.connect(self.find_modulators)
        self.source.changed.connect(self._on_changed)
        self.source.failed.connect(self.sentence.say)
        self.form.changed.connect(self._on_changed)
        self.run_button.clicked.connect(self.run)
        listen(self, self._workspace.data_changed, self._on_data)
        self._on_data()

    # --- what is asked ------------------------------------------------------------------------

    def config(self) -> BetasConfig:
        """Return the config as the dock stands.

        Raises
        ------
        CelldynError
            If a field is wrong, or no tissue is open.
        """
        return self.form.value(**self.source.values())

    def propose(self, gene: str | None = None) -> None:
        """Fill in what is empty with what the data propose."""
        self.source.propose(gene)

    def labels_source(self) -> Source | None:
        """Return the column of the chosen cell types, to colour by; None if all are alike."""
        from celldyn.data import Source

        column = self.source.labels.currentData()
        return Source("obs", key=column) if column else None

    def find_modulators(self) -> Found | None:
        """Say what would modulate the gene, or why it cannot be modelled."""
        from celldyn.betas import find_modulators

        self._finding.stop()
        self.found.clear()
        self.sentence.say("")
        if self._workspace.adata is None or not self.source.gene.text().strip():
            return None
        try:
            config = self.config()
            grn = self._networks.grn(config)
            found = find_modulators(self._workspace.adata, config, grn=grn)
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.found.setText(_in_words(found))
        self.found.setToolTip("\n".join(found.modulators.names[:200]))
        return found

    # --- running ------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start the fit in the background; None, and a sentence, if it cannot be started."""
        self.sentence.say("")
        try:
            handle = self._submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self._show_card(handle)
        self.board.follow(handle)
        return handle

    def _submit(self) -> JobHandle:
        from celldyn.betas import fit_job, prepare

        if not self.source.gene.text().strip():
            raise ConfigError("no target gene is chosen", "type a part of its name")
        config = self.config()
        inputs = prepare(self._workspace.require(), config, grn=self._networks.grn(config))
        return self._runner.submit(
            f"Betas of {inputs.target}",
            lambda: fit_job(inputs, config),
            system="betas",
            writes={keys.BETAS.path(gene=inputs.target)},
            on_result=self._write,
        )

    def _write(self, result: BetasResult) -> None:
        from celldyn.betas import write_result

        written = write_result(self._workspace.require(), result)
        self._workspace.announce(written)
        self.results.show_result(result.gene)

    def _show_card(self, handle: JobHandle) -> None:
        self._drop_card()
        self.card = JobCard(handle, shows_metrics=False)
        self.card.dismissed.connect(self._dismiss)
        self.column.insertWidget(self.column.indexOf(self.run_button) + 1, self.card)

    def _dismiss(self, handle: JobHandle) -> None:
        self._runner.dismiss(handle)
        self._drop_card()

    def _drop_card(self) -> None:
        if self.card is not None:
            self.column.removeWidget(self.card)
            self.card.setParent(None)
            self.card.deleteLater()
            self.card = None

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        there = self._workspace.adata is not None
        self.run_button.setEnabled(there)
        self.sentence.say("" if there else "No tissue is open; open a file or a sample.")
        self.found.clear()
        self.board.clear()

    def _on_changed(self) -> None:
        self._finding.start()


def _in_words(found: Found) -> str:
    m = found.modulators
    parts = [f"{len(m.regulators)} regulators"]
    if m.lr:
        parts.append(f"{len(m.lr)} ligand–receptor pairs")
    if m.tfl:
        parts.append(f"{len(m.tfl)} ligand–TF pairs")
    where = f"{len(found.clusters)} cell types" if any(found.clusters) else "all cells alike"
    if len(found.sections) > 1:
        where += f" in each of {len(found.sections)} sections"
    return " ".join([f"Found {', '.join(parts)}; {where}.", *found.notes])
