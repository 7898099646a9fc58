"""Genes changed in clicked cells, and what that does to their fates on the landscape."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFormLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.perturbation import Perturbation
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.landscape_effects import LandscapeEffects
from napari_celldyn.widgets.landscape_ensemble import effect_job
from napari_celldyn.widgets.landscape_root import cluster_box, offer_clusters
from napari_celldyn.widgets.landscape_tissue import labels_apart
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.perturb_cells import CellChoice
from napari_celldyn.widgets.perturb_changes import ChangeEditor
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.landscape.perturbing.effect import PerturbationEffect
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_ensemble import Models
    from napari_celldyn.widgets.landscape_model import ModelShelf

HELD, RELEASED = "held throughout", "let go at"
_RELEASED_AT = 3.0


class LandscapePerturb(QWidget):
    """Asks which genes are changed, in which cells and for how long; follows and shows them.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The model of the tissue in view.
    """

    def __init__(self, session: Session, shelf: ModelShelf, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._runner, self._shelf = session.workspace, session.runner, shelf
        self.changes, self.cells = ChangeEditor(), CellChoice(session)
        self.changes.gene.setToolTip("A gene that the landscape was learned from")
        self.clusters = cluster_box()
        self.clusters.setToolTip("Column of obs whose clusters are the fates")
        self.hold = QComboBox()
        self.hold.addItems([HELD, RELEASED])
        self.hold.setToolTip("How long the genes keep their level")
        self.released_at = NumberBox(1e-6, 1e6)
        self.released_at.setValue(_RELEASED_AT)
        self.released_at.setToolTip("In the time of the flow, which the parameters set")
        self.form = ConfigForm(PerturbConfig)
        self.parameters = Fold("Perturbation: parameters")
        self.parameters.addWidget(self.form)
        self.name = QLineEdit()
        self.name.setPlaceholderText("named after what is done")
        self.name.setToolTip("Name of this perturbation; an old one of this name is replaced")
        self.run_button, self.sentence = QPushButton("Perturb"), ErrorSentence()
        self.jobs, self.results = CardPlace(self._runner), LandscapeEffects(session)
        self._lay_out()
        self.run_button.clicked.connect(self.run)
        self.hold.currentTextChanged.connect(self._on_hold)
        for signal in (self.changes.changed, self.cells.changed):
            signal.connect(self._on_changed)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._on_data()
        self._on_hold()

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, part in (("fates of", self.clusters), ("genes are", self.hold),
                           ("time", self.released_at), ("name", self.name)):  # fmt: skip
            self._form.addRow(name, part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.changes)
        column.addWidget(self.cells)
        column.addLayout(self._form)
        for part in (self.parameters, self.sentence, self.run_button, self.jobs, self.results):
            column.addWidget(part)

    # --- what is asked ------------------------------------------------------------------------

    def perturbation(self) -> Perturbation:
        """Return what is asked for.

        Raises
        ------
        CelldynError
            If a gene, a value or the cells are wrong.
        """
        asked = Perturbation(self.changes.changes(), self.cells.cells())
        if self.hold.currentText() == HELD:
            return asked
        return replace(asked, released_at=float(self.released_at.number()))

    def config(self) -> PerturbConfig:
        """Return the parameters as they stand.

        Raises
        ------
        ConfigError
            If one is wrong.
        """
        config: PerturbConfig = self.form.value()
        return config

    # --- running ------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start to follow the cells; None, and a sentence, if that cannot be."""
        self.sentence.say("")
        try:
            handle = self._submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _submit(self) -> JobHandle:
        adata, asked, config = self._workspace.require(), self.perturbation(), self.config()
        clusters = self.clusters.currentText()
        said = asked.describe(adata.n_obs)
        name = self.name.text().strip() or said
        work = partial(
            effect_job,
            perturbation=asked,
            adata=labels_apart(adata, clusters),
            clusters=clusters,
            config=config,
        )
        return self._runner.submit(
            f"{said[:1].upper()}{said[1:]}",
            self._shelf.job(work),
            system="landscape",
            writes={keys.LANDSCAPE_EFFECT.path(name=name)},
            on_result=partial(self._write, name=name, clusters=clusters),
        )

    def _write(
        self, found: tuple[Models, PerturbationEffect], *, name: str, clusters: str
    ) -> None:
        from celldyn.data import record

        models, effect = found
        self._shelf.keep(models)
        inputs = {
            "name": name, "clusters": clusters, "perturbation": effect.perturbation.to_dict()
        }  # fmt: skip
        adata = self._workspace.require()
        record(adata, "landscape.perturb", config=effect.config, inputs=inputs)
        self.results.add(effect, name)

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        adata = self._workspace.adata
        self.changes.clear()
        self.changes.set_genes(() if adata is None else [str(name) for name in adata.var_names])
        self.sentence.say("")
        self.jobs.clear()
        offer_clusters(self.clusters, adata)

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith("obs/") for path in written):
            offer_clusters(self.clusters, self._workspace.adata)

    def _on_changed(self) -> None:
        self.sentence.say("")

    def _on_hold(self, *_: object) -> None:
        shown = self.hold.currentText() == RELEASED
        self.released_at.setVisible(shown)
        if (label := self._form.labelForField(self.released_at)) is not None:
            label.setVisible(shown)
