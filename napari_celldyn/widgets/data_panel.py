"""What is open, in which unit and sections, and whether it is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.opening import may_replace, open_path, save, saves_in_place
from napari_celldyn.widgets.labels import elided, wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.workspace import Workspace

FILES = "Tissues (*.h5ad *.h5 *.csv *.tsv);;All files (*)"
SAVES = "AnnData (*.h5ad);;AnnData, zarr (*.zarr)"


class DataPanel(QWidget):
    """Name, size, unit and sections of the open tissue; opens and saves it.

    Parameters
    ----------
    workspace
        What the viewer shows.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._proposed: str | None = None
        self._build()
        listen(self, workspace.data_changed, self._show_data)
        listen(self, workspace.keys_changed, self._on_keys)
        listen(self, workspace.unsaved_changed, self._show_name)
        self._show_data()

    def _build(self) -> None:
        self.name, self.size, self.unit = elided(bold=True), wrapped(), wrapped()
        self.mark = QLabel("● unsaved")
        self.mark.setToolTip("Changed since it was last saved")
        self.message = ErrorSentence()
        self.sections = QComboBox()
        self.sections.setToolTip("The obs column that tells the sections apart")
        self.sections.setMinimumContentsLength(8)
        self.sections.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.sections.activated.connect(self._set_sections)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("sections"), 0, 0)
        grid.addWidget(self.sections, 0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        head = QHBoxLayout()
        head.addWidget(self.name, 1)
        head.addWidget(self.mark)
        column.addLayout(head)
        for item in (self.size, self.unit, self._build_ask()):
            column.addWidget(item)
        column.addLayout(grid)
        column.addWidget(self._build_hint())
        column.addLayout(self._build_buttons())
        column.addWidget(self.message)

    def _build_ask(self) -> QWidget:
        self.ask = QWidget()
        self.um = QDoubleSpinBox()
        self.um.setRange(0.0001, 10_000)
        self.um.setDecimals(4)
        self.um.setValue(1)
        self.um.setSuffix(" µm")
        self.apply_unit = QPushButton("Apply")
        self.apply_unit.clicked.connect(self._set_unit)
        line = QHBoxLayout(self.ask)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("1 unit ="))
        line.addWidget(self.um, 1)
        line.addWidget(self.apply_unit)
        return self.ask

    def _build_hint(self) -> QWidget:
        self.hint, self.hint_text = QWidget(), wrapped()
        self.take_hint = QPushButton("Use")
        self.take_hint.clicked.connect(self._take_hint)
        line = QHBoxLayout(self.hint)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.hint_text, 1)
        line.addWidget(self.take_hint)
        self.hint.hide()
        return self.hint

    def _build_buttons(self) -> QHBoxLayout:
        self.open_button = QPushButton("Open")
        menu = QMenu(self.open_button)
        menu.addAction("File (.h5ad, 10x .h5, .csv)…", self._choose_file)
        menu.addAction("Folder (.zarr, 10x matrix)…", self._choose_folder)
        self.open_button.setMenu(menu)
        self.save_button, self.save_as_button = QPushButton("Save"), QPushButton("Save as…")
        self.save_button.clicked.connect(self._save)
        self.save_as_button.clicked.connect(self._save_as)
        line = QHBoxLayout()
        for button in (self.open_button, self.save_button, self.save_as_button):
            line.addWidget(button)
        return line

    # --- what the workspace says ---------------------------------------------------------------

    def _show_data(self) -> None:
        self._show_name()
        self.message.say("")
        adata = self._workspace.adata
        for item in (self.size, self.unit, self.sections, self.save_as_button):
            item.setEnabled(adata is not None)
        if adata is None:
            self.size.setText("Open a file, or File > Open Sample > CellDyn.")
            for item in (self.unit, self.ask, self.hint):
                item.hide()
            return
        self._try(self._show_facts)
        self._show_hint(adata)

    def _show_facts(self) -> None:
        from celldyn.data import section_key, um_per_unit

        adata = self._workspace.require()
        sections, um = section_key(adata), um_per_unit(adata)
        text = f"{adata.n_obs:,} cells × {adata.n_vars:,} genes"
        n_sections = 1 if sections is None else int(adata.obs[sections].nunique())
        if n_sections > 1:
            text += f", {n_sections} sections"
        self.size.setText(text)
        self.ask.setVisible(um is None)
        self.unit.setVisible(True)
        self.unit.setText(
            "The unit of the coordinates is unknown:"
            if um is None
            else "coordinates in µm"
            if um == 1
            else f"1 coordinate unit = {um:g} µm"
        )
        self._fill_sections(adata, sections)

    def _show_hint(self, adata: AnnData) -> None:
        from celldyn.data import propose_section

        self._proposed = propose_section(adata)
        self.hint.setVisible(self._proposed is not None)
        self.hint_text.setText(f"{self._proposed} looks like sections that lie on each other:")

    def _fill_sections(self, adata: AnnData, chosen: str | None) -> None:
        self.sections.clear()
        self.sections.addItem("none", None)
        from celldyn.data import section_columns

        columns = section_columns(adata)
        for name in columns if chosen in (None, *columns) else [chosen, *columns]:
            self.sections.addItem(name, name)
        self.sections.setCurrentIndex(max(self.sections.findData(chosen), 0))

    def _on_keys(self, written: Iterable[str]) -> None:
        shown = {keys.SECTION.path(), keys.UM_PER_UNIT.path(), keys.UNIT.path()}
        if any(key in shown or key.startswith("obs/") for key in written):
            self._try(self._show_facts)

    def _show_name(self) -> None:
        workspace = self._workspace
        path = workspace.path
        if workspace.adata is None:
            self.name.setText("No tissue is open")
        else:
            shown = path or workspace.origin
            self.name.setText("not saved to a file yet" if shown is None else shown.name)
        self.name.setToolTip("" if path is None else str(path))
        self.mark.setVisible(workspace.unsaved)
        self.save_button.setEnabled(workspace.adata is not None and workspace.unsaved)

    # --- what the user does --------------------------------------------------------------------

    def _set_unit(self) -> None:
        from celldyn.data import set_unit

        set_unit(self._workspace.require(), self.um.value())
        self._workspace.announce({keys.UNIT.path(), keys.UM_PER_UNIT.path()})

    def _set_sections(self) -> None:
        self._use_sections(self.sections.currentData())

    def _take_hint(self) -> None:
        self._use_sections(self._proposed)

    def _use_sections(self, column: str | None) -> None:
        from celldyn.data import set_section_key

        set_section_key(self._workspace.require(), column)
        self._workspace.announce({keys.SECTION.path()})
        self.hint.hide()

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a tissue", self._folder(), FILES)
        self._open(name)

    def _choose_folder(self) -> None:
        self._open(QFileDialog.getExistingDirectory(self, "Open a tissue", self._folder()))

    def _open(self, name: str) -> None:
        if name and may_replace(self._workspace, self):
            self.open_path(Path(name))

    def open_path(self, path: Path) -> None:
        """Open a file or folder in place of what is open."""
        with _waiting():
            self._try(lambda: open_path(self._workspace, path))

    def _save(self) -> None:
        path = self._workspace.path
        if path is not None and saves_in_place(path):
            self.save_to(path)
        else:
            self._save_as()

    def _save_as(self) -> None:
        before = self._workspace.path
        start = Path(self._folder()) / f"{'tissue' if before is None else before.stem}.h5ad"
        name, kind = QFileDialog.getSaveFileName(self, "Save the tissue", str(start), SAVES)
        if name:
            path = Path(name)
            self.save_to(path if path.suffix else path.with_suffix(_suffix(kind)))

    def save_to(self, path: Path) -> None:
        """Save the whole AnnData to `path` (.h5ad or .zarr)."""
        with _waiting():
            self._try(lambda: save(self._workspace, path))

    def _folder(self) -> str:
        path = self._workspace.path
        return "" if path is None else str(path.parent)

    def _try(self, action: Callable[[], object]) -> None:
        """Do it; what goes wrong is said in the panel, in one sentence."""
        self.message.say("")
        try:
            action()
        except CelldynError as error:
            self.message.say(str(error))


@contextmanager
def _waiting() -> Iterator[None]:
    QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
    try:
        yield
    finally:
        QApplication.restoreOverrideCursor()


def _suffix(kind: str) -> str:
    return ".zarr" if "zarr" in kind else ".h5ad"
