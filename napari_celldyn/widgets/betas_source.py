"""What a gene is modelled from: the gene, the cell types, the network, the signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from napari_celldyn.widgets.gene_edit import GeneEdit
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.path_edit import PathEdit

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.workspace import Workspace

FIELDS = (
    "target_gene",
    "cluster_annot",
    "section_key",
    "layer",
    "regulators",
    "colinks_path",
    "use_ligands",
    "lr",
)
"""The fields of `BetasConfig` that are asked here, with what the tissue has to offer."""

GRN_BESIDE, LR_BESIDE = "grn.csv", "ligand_receptor.csv"
"""Networks of these names beside the tissue's file are taken unasked."""

_TABLES = "Tables (*.csv *.tsv *.parquet)"
_X, ALL_ALIKE = "X", "(all cells alike)"


class BetasSource(QWidget):
    """Asks for the fields of the config whose choices are the tissue's own.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    changed = Signal()
    failed = Signal(str)
    """A sentence: why nothing could be proposed."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.gene = GeneEdit()
        self.gene.setToolTip("The gene whose expression is modelled")
        self.labels, self.layer = _combo("Cell types"), _combo("Where expression comes from")
        self.grn = PathEdit("a gene regulatory network", _TABLES)
        self.grn.setToolTip("CSV, TSV or Parquet with source, target and perhaps cluster, p")
        self.regulators = QLineEdit()
        self.regulators.setPlaceholderText("from the GRN")
        self.regulators.setToolTip("Genes, separated by commas; they take the GRN's place")
        self.propose_button = QPushButton("Propose")
        self.propose_button.setToolTip(
            "The genes that vary most with the target within cell types: candidates, not known"
        )
        self.ligands = QCheckBox("signals from neighbours")
        self.ligands.setChecked(True)
        self.lr = PathEdit("a ligand–receptor table", _TABLES)
        self.lr.edit.setPlaceholderText("liana")
        self.lr.setToolTip("A file in CellChat's columns, liana, or liana:<resource>")
        self._lay_out()
        self._connect()
        self._on_data()

    def _lay_out(self) -> None:
        proposed = QHBoxLayout()
        proposed.addWidget(self.regulators, 1)
        proposed.addWidget(self.propose_button)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("target", self.gene)
        form.addRow("cell types", self.labels)
        form.addRow("expression", self.layer)
        form.addRow("GRN", self.grn)
        form.addRow("regulators", proposed)
        form.addRow("", self.ligands)
        form.addRow("pairs", self.lr)

    def _connect(self) -> None:
        for signal in (
            self.gene.picked, self.labels.currentTextChanged, self.layer.currentTextChanged,
            self.grn.changed, self.regulators.editingFinished, self.ligands.toggled,
            self.lr.changed,
        ):  # fmt: skip
            signal.connect(self._announce)
        self.ligands.toggled.connect(self.lr.setEnabled)
        self.propose_button.clicked.connect(self._on_propose)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    def show_target(self, *, shown: bool) -> None:
        """Show or hide the line of the target, which a panel has not."""
        form = self.layout()
        assert isinstance(form, QFormLayout)
        label = form.labelForField(self.gene)
        for part in (self.gene, label):
            if part is not None:
                part.setVisible(shown)

    # --- what is asked ------------------------------------------------------------------------

    def values(self) -> dict[str, Any]:
        """Return the fields of `FIELDS` as they stand."""
        from celldyn.data import section_key

        adata = self._workspace.require()
        names = [name.strip() for name in self.regulators.text().split(",")]
        return {
            "target_gene": self.gene.text().strip(),
            "cluster_annot": self.labels.currentData(),
            "section_key": section_key(adata),
            "layer": self.layer.currentData(),
            "regulators": [name for name in names if name] or None,
            "colinks_path": self.grn.text(),
            "use_ligands": self.ligands.isChecked(),
            "lr": self.lr.text() or "liana",
        }

    def propose(self, gene: str | None = None) -> None:
        """Fill in what is empty: a gene, and regulators where no network knows any of it."""
        from celldyn.betas.propose import propose_target
        from celldyn.data import find_gene

        adata = self._workspace.require()
        layer, known = self.values()["layer"], self._network_targets()
        target = find_gene(adata, gene) if gene else propose_target(adata, layer, among=known)
        self.gene.setText(target)
        if target.casefold() not in known and not self.regulators.text():
            self._propose_regulators()
        self.changed.emit()

    def _network_targets(self) -> frozenset[str]:
        """Return the genes that the GRN has regulators of, in lower case."""
        from celldyn.data import read_grn

        path = self.grn.text()
        if path is None:
            return frozenset()
        return frozenset(read_grn(path)["target"].str.casefold())

    def _on_propose(self) -> None:
        try:
            self._propose_regulators()
        except CelldynError as error:
            self.failed.emit(str(error))

    def _propose_regulators(self) -> None:
        from celldyn.betas.inputs import codes_of
        from celldyn.betas.propose import propose_regulators
        from celldyn.data import find_gene

        adata, asked = self._workspace.require(), self.values()
        found = propose_regulators(
            adata,
            find_gene(adata, asked["target_gene"]),
            codes_of(adata, asked["cluster_annot"])[0],
            layer=asked["layer"],
        )
        self.regulators.setText(", ".join(found))
        self.changed.emit()

    # --- what the tissue has ------------------------------------------------------------------

    def _on_data(self) -> None:
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        self.gene.clear()
        self.regulators.clear()
        self.gene.set_genes(() if adata is None else adata.var_names)
        self._fill(adata)
        self._take_networks_beside()
        self._announce()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith(("obs/", "layers")) for path in written):
            self._fill(self._workspace.adata)

    def _fill(self, adata: AnnData | None) -> None:
        from celldyn.data import type_columns

        layers = [] if adata is None else [str(name) for name in adata.layers]
        has_x = adata is not None and adata.X is not None
        columns = [] if adata is None else type_columns(adata)
        _refill(self.labels, {**{name: name for name in columns}, ALL_ALIKE: None})
        _refill(self.layer, {**({_X: None} if has_x else {}), **{name: name for name in layers}})

    def _take_networks_beside(self) -> None:
        path = self._workspace.origin
        for name, edit in ((GRN_BESIDE, self.grn), (LR_BESIDE, self.lr)):
            beside = None if path is None else path.parent / name
            edit.set_text(str(beside) if beside is not None and beside.is_file() else None)

    def _announce(self, *_: object) -> None:
        self.changed.emit()


def _combo(tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setToolTip(tip)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    return combo


def _refill(combo: QComboBox, choices: dict[str, str | None]) -> None:
    held = combo.currentText()
    with signals_blocked(combo):
        combo.clear()
        for name, value in choices.items():
            combo.addItem(name, value)
        if held in choices:
            combo.setCurrentText(held)
