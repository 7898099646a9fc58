"""The dock of perturbation: genes, cells, run, and what the fitted betas say happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from celldyn import keys
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.errors import CelldynError, NotFittedError
from celldyn.perturbation import Perturbation
from napari_celldyn.session import session
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.editors import bounds
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.panel_run import home_of
from napari_celldyn.widgets.perturb_cells import CellChoice
from napari_celldyn.widgets.perturb_changes import ChangeEditor
from napari_celldyn.widgets.perturb_genes import Acting, acting_genes
from napari_celldyn.widgets.perturb_results import PerturbResults
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.betas import PerturbResult
    from celldyn.betas.panel import BetaStore
    from celldyn.betas.perturbing.reading import Models
    from napari_celldyn.handle import JobHandle

STEPS = "n_propagation"
_BETAS, _ARROWS = f"{keys.BETAS.slot}/{keys.BETAS(gene='')}", keys.BETAS_ARROWS(name="")


class PerturbWidget(Dock):
    """Changes genes in cells, and shows what the fitted betas say happens.

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
        _, _ = place.tissue, place.interaction  # drawn on, and clicked
        self._panel: tuple[object, Models] | None = None
        self.changes, self.cells = ChangeEditor(), CellChoice(place)
        self.steps = _steps_box()
        self.form = ConfigForm(PerturbConfig, hidden=(STEPS,))
        self.parameters = Fold("Parameters")
        self.parameters.addWidget(self.form)
        self.name = QLineEdit()
        self.name.setPlaceholderText("named after what is done")
        self.name.setToolTip("Name of the perturbed tissue; an old one of this name is replaced")
        self.run_button, self.sentence = QPushButton("Run"), ErrorSentence()
        self.reset_button = QPushButton("Reset")
        self.reset_button.setToolTip("Ask for nothing, and show the cells as they were before")
        self.results = PerturbResults(place)
        self.jobs = CardPlace(self._runner)
        self.buttons = _side_by_side(self.run_button, self.reset_button)
        self.fill(
            (
                ("Change genes and see what the fitted betas say happens", self.changes),
                ("", self.cells),
                ("", _named(steps=self.steps, name=self.name)),
                ("", self.parameters),
                ("", self.sentence),
                ("", self.buttons),
                ("", self.jobs),
                ("Results", self.results),
            )
        )
        self.run_button.clicked.connect(self.run)
        self.reset_button.clicked.connect(self.reset)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)
        self._on_data()

    # --- what is asked ------------------------------------------------------------------------

    def perturbation(self) -> Perturbation:
        """Return what is asked for.

        Raises
        ------
        CelldynError
            If a gene, a value or the cells are wrong.
        """
        return Perturbation(self.changes.changes(), self.cells.cells())

    def config(self) -> PerturbConfig:
        """Return the parameters as they stand.

        Raises
        ------
        ConfigError
            If one is wrong.
        """
        config: PerturbConfig = self.form.value(**{STEPS: int(self.steps.number())})
        return config

    def reset(self) -> None:
        """Ask for nothing any more, and show the cells as they were before the first map."""
        self.changes.clear()
        self.cells.clear()
        self.name.clear()
        self.sentence.say("")
        self.results.leave()

    def run(self) -> JobHandle | None:
        """Start in the background; None, and a sentence, if it cannot be started.

        The betas of a panel are read first, in the background too, once for all runs.
        """
        self.sentence.say("")
        try:
            store = self._store()
            if store is None or (self._panel is not None and self._panel[0] == _stamp(store)):
                handle = self._submit()
            else:
                handle = self._read(store)
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        return handle

    def _store(self) -> BetaStore | None:
        from celldyn.betas.panel import find_store

        store = find_store(self._workspace.require(), home_of(self._workspace))
        return store if store is not None and len(store) else None

    def _read(self, store: BetaStore) -> JobHandle:
        from celldyn.betas import load_models_job

        stamp = _stamp(store)

        def go_on(models: Models) -> None:
            self._panel = (stamp, models)
            self._offer()
            self.run()

        self.perturbation()  # what is wrong is said now
        return self._runner.submit(
            f"Betas of {len(store)} genes", lambda: load_models_job(store), system="betas",
            on_result=go_on,
        )  # fmt: skip

    def _submit(self) -> JobHandle:
        from celldyn.betas import perturb_job, prepare_perturb, read_models

        adata, perturbation = self._workspace.require(), self.perturbation()
        config = self.config()
        panel = None if self._panel is None else self._panel[1]
        models = read_models(adata, file_path=home_of(self._workspace), panel=panel)
        inputs = prepare_perturb(adata, perturbation, config, fields=models)
        said = perturbation.describe(adata.n_obs)
        name = self.name.text().strip() or said
        self.sentence.say(" ".join(inputs.notes))
        return self._runner.submit(
            f"{said[:1].upper()}{said[1:]}",
            lambda: perturb_job(inputs, config),
            system="betas",
            writes={keys.BETAS_DELTA.path(name=name), keys.BETAS_SHIFT.path(name=name)},
            on_result=lambda result: self._write(result, name),
        )

    def _write(self, result: PerturbResult, name: str) -> None:
        from celldyn.betas import write_perturbed

        self._workspace.announce(write_perturbed(self._workspace.require(), result, name))
        self.results.show_result(name)

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        self._panel = None
        self.changes.clear()
        self._offer()

    def _on_keys(self, written: frozenset[str]) -> None:
        of_betas = any(path.startswith(_BETAS) and _ARROWS not in path for path in written)
        if of_betas or keys.BETAS_STORE.path() in written:
            self._offer()

    def _offer(self) -> None:
        """Offer the genes of the tissue that count, and say what is missing."""
        adata = self._workspace.adata
        self.run_button.setEnabled(adata is not None)
        genes = () if adata is None else [str(name) for name in adata.var_names]
        try:
            acting = self._acting()
        except CelldynError as error:
            self.changes.set_genes(genes)
            self.sentence.say(str(error))
            return
        self.changes.set_genes(genes, acting)
        self.sentence.say(self._what_is_missing() if acting == {} else "")

    def _acting(self) -> Acting | None:
        """Return which genes count; None as long as only a panel knows that was not read yet."""
        adata = self._workspace.adata
        if adata is None:
            return {}
        store = self._store()
        if store is None:
            return acting_genes(adata)
        if self._panel is None or self._panel[0] != _stamp(store):
            return None
        return acting_genes(adata, self._panel[1])

    def _what_is_missing(self) -> str:
        if self._workspace.adata is None:
            return "No tissue is open; open a file or a sample."
        return str(NotFittedError("this tissue has no betas yet", "fit genes in Spatial betas"))


def _stamp(store: BetaStore) -> tuple[str, tuple[str, ...]]:
    """Return what tells a store from itself with more genes."""
    return str(store.path), tuple(store.genes)


def _steps_box() -> NumberBox:
    field = PerturbConfig.model_fields[STEPS]
    low, high = bounds(field)
    box = NumberBox(low, high, whole=True)
    box.setValue(field.default)
    box.setToolTip(field.description or "")
    return box


def _named(**parts: QWidget) -> QWidget:
    holder = QWidget()
    form = QFormLayout(holder)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for name, part in parts.items():
        form.addRow(name, part)
    return holder


def _side_by_side(*buttons: QPushButton) -> QWidget:
    holder = QWidget()
    line = QHBoxLayout(holder)
    line.setContentsMargins(0, 0, 0, 0)
    for button in buttons:
        line.addWidget(button)
    return holder
