"""Which way cells develop: from a root, by a pseudotime, by a phylogeny, or by a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn import keys
from celldyn.errors import CelldynError, DataError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_phylogeny import PhylogenyChoice
from napari_celldyn.widgets.landscape_root import RootChoice
from napari_celldyn.widgets.landscape_way import Way, matrices, propose_time
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vae_columns import ColumnBox, KeyColumn, number_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session

ROOT, COLUMN, MATRIX = "a root", "a pseudotime column", "a transition matrix"

TIPS = {
    ROOT: "Diffusion pseudotime is computed from cells or a cluster that you choose",
    COLUMN: "A column of obs that grows along differentiation, in any unit",
    MATRIX: "Chances of a step from cell to cell, rows summing to 1, in obsp",
}


class LandscapePrior(QWidget):
    """Asks what walks follow, and computes a pseudotime where there is none.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._runner = session.workspace, session.runner
        self._computed = ""
        self._problems: dict[str, str] = {}
        self.kind = QComboBox()
        self.kind.addItems([ROOT, COLUMN, MATRIX])
        for k, tip in enumerate(TIPS.values()):
            self.kind.setItemData(k, tip, Qt.ItemDataRole.ToolTipRole)
        self.root = RootChoice(self._workspace)
        self.time = ColumnBox("(choose one)", TIPS[COLUMN])
        self.matrix = ColumnBox("(choose one)", TIPS[MATRIX])
        self.phylogeny = PhylogenyChoice(self._workspace)
        self.compute_button = QPushButton("Compute pseudotime")
        self.compute_button.setToolTip("Diffusion pseudotime from the root, by scanpy")
        self.show_button = QPushButton("Show")
        self.show_button.setToolTip("Colour the cells by this pseudotime")
        self.words = wrapped()
        self.sentence, self.jobs = ErrorSentence(), CardPlace(self._runner)
        self._lay_out()
        self._connect()
        self._on_data()

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("follow", self.kind)
        self._form.addRow("column", self.time)
        self._form.addRow("matrix", self.matrix)
        line = QHBoxLayout()
        line.addWidget(self.compute_button, 1)
        line.addWidget(self.show_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._form)
        column.addWidget(self.root)
        column.addLayout(line)
        for part in (self.words, self.sentence, self.jobs, self.phylogeny):
            column.addWidget(part)

    def _connect(self) -> None:
        self.kind.currentTextChanged.connect(self._on_kind)
        for signal in (self.time.currentIndexChanged, self.matrix.currentIndexChanged,
                       self.root.changed, self.phylogeny.changed):  # fmt: skip
            signal.connect(self._tell)
        self.compute_button.clicked.connect(self._on_compute)
        self.show_button.clicked.connect(self.show_time)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- what is asked ------------------------------------------------------------------------

    @property
    def needs_time(self) -> bool:
        """Whether a root is chosen whose pseudotime is still to be computed."""
        return self.kind.currentText() == ROOT and not self._computed

    def way(self) -> Way:
        """Return what walks follow.

        Raises
        ------
        CelldynError
            If nothing is chosen, or what is chosen cannot serve.
        """
        kind = self.kind.currentText()
        if kind == MATRIX:
            if (name := self.matrix.column()) is None:
                raise DataError("no transition matrix is chosen", "choose a key of obsp")
            return Way(matrix=name)
        time = self._computed if kind == ROOT else self.time.column()
        if not time:
            if kind == ROOT:
                self.root.cells()  # where there is none, that is what is wrong
            raise DataError(
                "no pseudotime is chosen", "choose a column of obs, or compute one from a root"
            )
        if problem := self._problems.get(time, ""):
            raise DataError(problem.removesuffix("."))
        clusters, children = self.phylogeny.value() or (None, None)
        return Way(time=time, clusters=clusters, children=children)

    def show_time(self) -> None:
        """Colour the cells by the pseudotime that is chosen."""
        from celldyn.data import Source

        time = self._computed if self.kind.currentText() == ROOT else self.time.column()
        if time:
            self._workspace.colour = Source("obs", time)

    # --- computing ----------------------------------------------------------------------------

    def compute(self, then: Callable[[], object] | None = None) -> JobHandle:
        """Start to compute the pseudotime of the root; what is to be done then is called after.

        Raises
        ------
        CelldynError
            If there is no root, or the tissue cannot serve.
        """
        from celldyn.landscape.root import pseudotime_from_root_job

        adata, cells = self._workspace.require(), self.root.cells()
        said = self.root.describe()

        self.phylogeny.value()  # what is wrong is said now
        inputs = self.root.inputs()

        def write(time: NDArray[np.floating]) -> None:
            self._write(time, said, inputs)
            if then is not None:
                then()

        handle = self._runner.submit(
            f"Pseudotime from {said}",
            pseudotime_from_root_job(adata, cells),
            system="landscape",
            writes={keys.DPT.path()},
            on_result=write,
        )
        self.jobs.show_job(handle)
        return handle

    def _on_compute(self) -> None:
        self.sentence.say("")
        try:
            self.compute()
        except CelldynError as error:
            self.sentence.say(str(error))

    def _write(self, time: NDArray[np.floating], said: str, inputs: dict[str, Any]) -> None:
        from celldyn.data import record

        adata = self._workspace.require()
        adata.obs[keys.DPT.name] = time
        record(adata, "landscape.pseudotime", config={}, inputs=inputs)
        self._computed = keys.DPT.name
        self.words.setText(f"obs[{keys.DPT.name!r}] begins with {said}.")
        self._workspace.announce({keys.DPT.path()})
        self.jobs.clear()
        self.show_time()
        self._tell()

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        self._computed = ""
        self.words.clear()
        self.sentence.say("")
        self.jobs.clear()
        self._fill()
        names = list(self._problems)
        with signals_blocked(self.kind):
            proposed = propose_time(names)
            self.time.choose(proposed)
            self.kind.setCurrentText(COLUMN if proposed else ROOT)
        self._on_kind()

    def _on_keys(self, written: frozenset[str]) -> None:
        if any(path.startswith(("obs/", "obsp")) for path in written):
            self._fill()
            self._tell()

    def _fill(self) -> None:
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        columns = [] if adata is None else number_columns(adata)
        self._problems = {one.name: one.problem for one in columns}
        self.time.offer(columns)
        self.matrix.offer([] if adata is None else [KeyColumn(k, None) for k in matrices(adata)])

    def _on_kind(self, *_: object) -> None:
        kind = self.kind.currentText()
        self.root.setVisible(kind == ROOT)
        self.compute_button.setVisible(kind == ROOT)
        self.show_button.setVisible(kind != MATRIX)
        self.phylogeny.setVisible(kind != MATRIX)
        for part, shown in ((self.time, kind == COLUMN), (self.matrix, kind == MATRIX)):
            part.setVisible(shown)
            if (label := self._form.labelForField(part)) is not None:
                label.setVisible(shown)
        self._tell()

    def _tell(self, *_: object) -> None:
        kind = self.kind.currentText()
        time = self._computed if kind == ROOT else self.time.column()
        self.show_button.setEnabled(bool(time))
        self.words.setVisible(kind == ROOT and bool(self._computed))
        problem = self._problems.get(time or "", "") if kind != MATRIX else ""
        self.sentence.say(problem)
        self.changed.emit()
