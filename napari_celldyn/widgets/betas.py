"""The dock of spatial betas: choose a gene, fit it in the background, read its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QWidget

from celldyn import keys
from celldyn.betas.config import BetasConfig
from celldyn.errors import CelldynError, ConfigError
from napari_celldyn.networks import NetworkShelf
from napari_celldyn.session import session
from napari_celldyn.widgets.beta_results import BetaResults
from napari_celldyn.widgets.betas_source import FIELDS, BetasSource
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.loss_curve import LossCurve
from napari_celldyn.widgets.panel_results import PanelResults
from napari_celldyn.widgets.panel_run import panel_config, submit_panel
from napari_celldyn.widgets.panel_source import PanelSource
from napari_celldyn.widgets.score_board import ScoreBoard
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vary_choice import FIELDS as VARY_FIELDS
from napari_celldyn.widgets.vary_choice import VaryChoice
from napari_celldyn.worker import JobState

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.betas import BetasResult, Found
    from celldyn.betas.panel import PanelConfig
    from celldyn.data import Source
    from napari_celldyn.handle import JobHandle

_FOUND_AFTER_MS = 300
"""The modulators are looked up when the user has been still for this long."""


ONE, PANEL = "one gene", "a panel of genes"


class BetasWidget(Dock):
    """Fits the betas of one gene, or of a panel, and shows them on the tissue.

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
        self.scope = QComboBox()
        self.scope.addItems([ONE, PANEL])
        self.scope.setToolTip("A panel goes to a folder, gene by gene, and can be gone on with")
        self.source = BetasSource(self._workspace)
        self.panel = PanelSource(self._workspace)
        self.panel.setVisible(False)
        self.vary = VaryChoice()
        self.form = ConfigForm(BetasConfig, hidden=(*FIELDS, *VARY_FIELDS))
        self.parameters = Fold("Parameters")
        self.parameters.addWidget(self.form)
        self.found = QLabel()
        self.found.setWordWrap(True)
        self.found.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sentence = ErrorSentence()
        self.run_button = QPushButton("Run")
        self.board = ScoreBoard()
        self.panel_results = PanelResults(self._workspace)
        self.results = BetaResults(self._workspace)
        self.jobs = CardPlace(self._runner, shows_metrics=False)
        self.losses = LossCurve()
        self._networks = NetworkShelf()
        self.fill(
            (
                ("Model genes from their regulators and their neighbours' signals", self.scope),
                ("", self.source),
                ("", self.panel),
                ("", self.vary),
                ("", self.parameters),
                ("", self.found),
                ("", self.sentence),
                ("", self.run_button),
                ("", self.jobs),
                ("", self.losses),
                ("", self.board),
                ("", self.panel_results),
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
        self.vary.changed.connect(self._on_changed)
        self.scope.currentTextChanged.connect(self._on_scope)
        self.panel_results.opened.connect(self.results.show_result)
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
        values = {**self.source.values(), **self.vary.values()}
        if self.of_panel:  # each of its genes is the target in turn
            values["target_gene"] = values["target_gene"] or PANEL
        return self.form.value(**values)

    def panel_config(self) -> PanelConfig:
        """Return the config of the panel as the dock stands; raises as `config`."""
        model = self.config()
        has_network = model.regulators is not None or model.colinks_path is not None
        return panel_config(model, **self.panel.values(has_network=has_network))

    @property
    def of_panel(self) -> bool:
        """Whether a panel is asked for, not one gene."""
        return self.scope.currentText() == PANEL

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
        if self._workspace.adata is None or self.of_panel or not self.source.gene.text().strip():
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
            handle = self._submit_panel() if self.of_panel else self._submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        self.losses.follow(handle)
        if self.of_panel:
            self.board.follow(handle, "gene", best_first=True)
        else:
            self.board.follow(handle)
        return handle

    def _submit_panel(self) -> JobHandle:
        config, folder = self.panel_config(), self.panel.folder()
        grn = self._networks.grn(config)
        handle = submit_panel(self._workspace, self._runner, config, folder, grn)
        handle.finished.connect(self._on_panel_finished)
        return handle

    def _on_panel_finished(self, state: object) -> None:
        store = self.panel_results.store
        if state is JobState.CANCELLED and store is not None:
            self.sentence.say(f"{len(store)} genes are finished and kept; Run goes on from there.")

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

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        there = self._workspace.adata is not None
        self.run_button.setEnabled(there)
        self.sentence.say("" if there else "No tissue is open; open a file or a sample.")
        self.found.clear()
        self.board.clear()
        self.losses.clear()

    def _on_changed(self) -> None:
        self._finding.start()

    def _on_scope(self) -> None:
        self.panel.setVisible(self.of_panel)
        self.source.show_target(shown=not self.of_panel)
        self._on_changed()


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
