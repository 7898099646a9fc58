"""The dock of the simulator: choose a preset, change it, see it, run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QWidget

from celldyn.devices import spare_threads
from celldyn.errors import CelldynError, ConfigError
from celldyn.simulate.config import SimulationConfig
from napari_celldyn.opening import land, may_replace
from napari_celldyn.session import session
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.domain_drawing import DomainDrawing
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.simulate_canvas import PreviewLayers
from napari_celldyn.widgets.simulate_files import WriteButton, YamlButtons, snapshot
from napari_celldyn.widgets.simulate_plots import PlotsButton
from napari_celldyn.widgets.simulate_preset import PresetBox, following_size
from napari_celldyn.widgets.simulate_preview import Sketch, Sketcher

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.simulate import Simulation
    from napari_celldyn.handle import JobHandle

T = TypeVar("T")

START = "tumour-immune"
_DRAWN = ("domain_polygons",)
"""Parameters that are drawn, not typed."""


class SimulateWidget(Dock):
    """Makes tissues whose every truth is known.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    WIDTH = 340

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._place = session(napari_viewer)
        self._workspace, self._runner = self._place.workspace, self._place.runner
        self.simulation: Simulation | None = None
        self.card = CardPlace(self._runner)
        self._running: JobHandle | None = None
        self.preset = PresetBox(START)
        self.form = ConfigForm(SimulationConfig, hidden=_DRAWN)
        self.yaml = YamlButtons(self.load_yaml, self.save_yaml)
        self.drawing = DomainDrawing(self._place.viewer)
        self.estimate, self.sentence = wrapped(), ErrorSentence()
        self.preview_box = QCheckBox("Preview")
        self.preview_box.setToolTip("Sketch up to 2,000 cells of it, beside the tissue in view")
        self.preview_box.setChecked(True)
        self.preview_state = QLabel()
        self.preview = PreviewLayers(self._place)
        self._sketcher = Sketcher(self)
        self.run_button, self.show_button = QPushButton("Run"), QPushButton("Show the result")
        self.show_button.setVisible(False)
        self.write_button = WriteButton(self.write_to)
        self.write_button.setEnabled(False)
        self.plots = PlotsButton(self.config, lambda: self.simulation, self.sentence.say)
        self._lay_out()
        self._connect()
        self.choose_preset(START)

    def _lay_out(self) -> None:
        self.drawing_fold = Fold("Draw domains")
        self.drawing_fold.addWidget(self.drawing)
        self.drawing_fold.layout().setContentsMargins(0, 0, 0, 0)
        self.fill(
            (
                ("Make a tissue whose every truth is known", self.preset),
                ("", self.yaml),
                ("", self.form),
                ("", self.drawing_fold),
                ("", self.estimate),
                ("", _row(self.preview_box, self.preview_state)),
                ("", self.sentence),
                ("", self.run_button),
                ("", self.card),
                ("", self.show_button),
                ("", _row(self.write_button, self.plots)),
            )
        )
        self.form.folds["Layout"].expand(animate=False)

    def _connect(self) -> None:
        self.preset.chosen.connect(self.choose_preset)
        self.form.changed.connect(self._on_changed)
        self.drawing.changed.connect(self._on_drawn)
        self.preview_box.toggled.connect(self._on_preview_box)
        self._sketcher.made.connect(self._on_sketch)
        self._sketcher.failed.connect(self.sentence.say)
        self.run_button.clicked.connect(self.run)
        self.show_button.clicked.connect(self.show_simulation)

    # --- what is asked ------------------------------------------------------------------------

    def config(self) -> SimulationConfig:
        """Return the config as the dock stands.

        Raises
        ------
        ConfigError
            If a parameter is wrong; the form says the same.
        """
        config: SimulationConfig = self.form.value()
        return config

    def choose_preset(self, name: str) -> None:
        """Fill the form with a preset."""
        self.preset.show_name(name)
        self.show_config(self.preset.config())

    def show_config(self, config: SimulationConfig) -> None:
        """Fill the form, and the drawing, with a config."""
        self.drawing.show_polygons(config.domain_polygons, config.domain_names[0])
        self.form.set_value(config)

    def load_yaml(self, path: Path) -> None:
        """Fill the form from a YAML file; what is wrong with it is said in one sentence."""
        try:
            config = SimulationConfig.from_yaml(path)
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        self.preset.show_name(None)
        self.show_config(config)

    def save_yaml(self, path: Path) -> None:
        """Write the config as the form stands to a YAML file."""
        self._try(lambda: self.config().to_yaml(path))

    # --- following ----------------------------------------------------------------------------

    def _on_changed(self) -> None:
        from celldyn.simulate.estimate import estimate

        if fresh := following_size(self.preset, self.form.raw()):
            self.form.put(**fresh)  # comes back here
            return
        self.sentence.say("")
        try:
            config = self.config()
        except ConfigError:  # the form has said why
            self.estimate.setText("")
            self._sketcher.stop()
            self.run_button.setEnabled(False)
            return
        self.estimate.setText(estimate(config).summary())
        self.run_button.setEnabled(self._running is None)
        self._sketch(config)

    def _on_drawn(self) -> None:
        values = self.drawing.values()
        known = set(values["domain_labels"])
        mixes = self.form.raw().get("domain_composition") or {}
        kept = {name: mix for name, mix in mixes.items() if name in known}
        self.form.put(**values, domain_composition=kept)

    # --- the preview --------------------------------------------------------------------------

    def _on_preview_box(self, on: bool) -> None:  # noqa: FBT001  (Qt's signal)
        if on:
            self._on_changed()
        else:
            self._clear_preview()

    def _sketch(self, config: SimulationConfig) -> None:
        if self.preview_box.isChecked():
            self.preview_state.setText("…")
            self._sketcher.request(config)

    def _on_sketch(self, sketch: Sketch) -> None:
        self.preview.show(sketch)
        self.drawing.move_to(self.preview.offset)
        self.preview_state.setText(f"{len(sketch.cells):,} cells")

    def _clear_preview(self) -> None:
        self._sketcher.stop()
        self.preview.clear()
        self.drawing.move_to(0.0)
        self.preview_state.setText("")

    # --- running ------------------------------------------------------------------------------

    def run(self) -> JobHandle | None:
        """Start the simulation in the background; None, and a sentence, if it cannot be."""
        return self._try(self._submit)

    def _submit(self) -> JobHandle:
        from celldyn.simulate import simulate_job

        config = self.config()
        handle = self._runner.submit(
            f"Simulation of {config.n_cells:,} cells",
            lambda: simulate_job(config, threads=spare_threads()),
            system="simulate",
            on_result=self._take,
        )
        self._running = handle
        self.run_button.setEnabled(False)
        handle.finished.connect(self._on_finished)
        self.card.show_job(handle)
        return handle

    def _on_finished(self, _state: object) -> None:
        self._running = None
        self.run_button.setEnabled(not self.form.problem)

    def _take(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.write_button.setEnabled(True)
        self.show_simulation()

    def show_simulation(self) -> None:
        """Put the simulated tissue in view, unless unsaved work is to stay there."""
        simulation = self.simulation
        if simulation is None:
            return
        kept = not may_replace(self._workspace, self)
        self.show_button.setVisible(kept)
        if kept:
            self.sentence.say("The tissue that was open stays in view.")
            return
        self._clear_preview()
        land(self._place.viewer, simulation.adata, None)
        self._place.elements.show_simulation(simulation)
        self._place.tissue.reset_view()

    def write_to(self, path: Path) -> JobHandle | None:
        """Write the simulated tissue in the background; the ending of the path says how."""
        return self._try(lambda: self._submit_write(path))

    def _submit_write(self, path: Path) -> JobHandle:
        from celldyn.simulate.output import write_simulation_job

        if self.simulation is None:
            raise CelldynError("there is no simulated tissue yet", "press Run first")
        simulation = self.simulation
        frozen = snapshot(simulation)
        handle = self._runner.submit(
            f"Writing {path.name}",
            lambda: write_simulation_job(frozen, path, threads=spare_threads()),
            system="simulate",
            on_result=lambda _: self._written(simulation, path),
        )
        self.card.show_job(handle)
        return handle

    def _written(self, simulation: Simulation, path: Path) -> None:
        """Record that an AnnData of the tissue in view is on disk."""
        if path.suffix == ".h5ad" and self._workspace.adata is simulation.adata:
            self._workspace.saved(path)

    def _try(self, action: Callable[[], T]) -> T | None:
        """Do it; what goes wrong is said in the dock, in one sentence."""
        self.sentence.say("")
        try:
            return action()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None


def _row(*parts: QWidget) -> QWidget:
    made = QWidget()
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part)
    return made
