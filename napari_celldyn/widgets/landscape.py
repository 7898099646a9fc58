"""The dock of the landscape: which way cells go, train in the background, see where they end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from celldyn.landscape.config import LSDConfig, TrainingConfig
from napari_celldyn.session import session
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.landscape_files import ModelFiles
from napari_celldyn.widgets.landscape_model import ModelShelf
from napari_celldyn.widgets.landscape_preset import PresetBox
from napari_celldyn.widgets.landscape_prior import LandscapePrior
from napari_celldyn.widgets.landscape_ready import NOTHING_OPEN, LandscapeReady
from napari_celldyn.widgets.landscape_results import LandscapeResults
from napari_celldyn.widgets.landscape_training import Learned, Order, go_on_job, learn_job
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.loss_curve import LossCurve
from napari_celldyn.widgets.number_box import NumberBox
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.jobs import Job
    from napari_celldyn.handle import JobHandle

DEVICES = ("auto", "cpu", "cuda", "mps")
WRITES = (keys.LANDSCAPE_INFO, keys.POTENTIAL, keys.CELL_STATE, keys.FATES, keys.FATE)
"""Fates are of the model before: they go when another takes its place."""


class LandscapeWidget(Dock):
    """Learns the landscape of the tissue, and shows what cells do on it.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    WIDTH = 320

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        place = self._place = session(napari_viewer)
        self._workspace, self._runner = place.workspace, place.runner
        _, _ = place.tissue, place.interaction  # drawn on, and clicked
        self.shelf = ModelShelf(self._workspace)
        self._stop: Event | None = None
        self.ready, self.prior = LandscapeReady(place), LandscapePrior(place)
        self.training = ConfigForm(TrainingConfig)
        self.form = ConfigForm(LSDConfig, hidden=("training",))
        self.preset = PresetBox(self.form, self.training)
        self.parameters = Fold("Parameters")
        self.parameters.addWidget(self.form)
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.device.setToolTip("Where it is trained")
        self.models = NumberBox(1, 20, whole=True)
        self.models.setValue(1)
        self.models.setToolTip(
            "Models that differ by their seed: fates and effects are pooled, and where they "
            "disagree is said"
        )
        self.sentence = ErrorSentence()
        self.run_button, self.more_button = QPushButton("Run"), QPushButton("Go on")
        self.stop_button = QPushButton("Stop")
        self.run_button.setToolTip("Learn a new landscape")
        self.more_button.setToolTip("Train the landscape that is there for as many epochs more")
        self.stop_button.setToolTip("End training with the last whole epoch, and keep what it is")
        self.jobs = CardPlace(self._runner, shows_metrics=False)
        self.losses = LossCurve(one_at_a_time=True)
        self.files = ModelFiles(self._runner, self.shelf, self.ready)
        self.results = LandscapeResults(place, self.shelf)
        self._lay_out()
        self._connect()
        self._on_data()

    def _lay_out(self) -> None:
        buttons, device = QWidget(), QWidget()
        line = QHBoxLayout(buttons)
        line.setContentsMargins(0, 0, 0, 0)
        for button in (self.run_button, self.more_button, self.stop_button):
            line.addWidget(button)
        row = QFormLayout(device)
        row.setContentsMargins(0, 0, 0, 0)
        row.addRow("preset", self.preset)
        row.addRow("models", self.models)
        row.addRow("device", self.device)
        self.fill(
            (
                ("What cells turn into: a landscape that they run down", self.ready),
                ("Which way they go", self.prior),
                ("Training", self.training),
                ("", device),
                ("", self.parameters),
                ("", self.sentence),
                ("", buttons),
                ("", self.jobs),
                ("", self.losses),
                ("", self.files),
                ("", self.results),
            )
        )

    def _connect(self) -> None:
        self.run_button.clicked.connect(self.run)
        self.more_button.clicked.connect(self.go_on)
        self.stop_button.clicked.connect(self.stop)
        self.files.opened.connect(self._write)
        for part in (self.ready, self.prior, self.training, self.form):
            part.changed.connect(self._on_changed)
        listen(self, self._workspace.data_changed, self._on_data)
        listen(self, self._workspace.keys_changed, self._on_keys)

    # --- what is asked ------------------------------------------------------------------------

    def config(self) -> LSDConfig:
        """Return the config as the dock stands.

        Raises
        ------
        ConfigError
            If a field is wrong.
        """
        config: LSDConfig = self.form.value(training=self.training.value())
        return config

    def run(self) -> JobHandle | None:
        """Start to learn a landscape; None, and a sentence, if that cannot be.

        Where a root is chosen and no pseudotime was computed from it, that comes first.
        """
        return self._start(self._submit)

    def go_on(self) -> JobHandle | None:
        """Start to train the landscape that is there for more epochs; else as `run`."""
        return self._start(self._submit_more)

    def stop(self) -> None:
        """End the training with the last whole epoch; what it came to is written."""
        if self._stop is not None:
            self._stop.set()
            self.stop_button.setEnabled(False)

    # --- running ------------------------------------------------------------------------------

    def _start(self, submit: Callable[[], JobHandle]) -> JobHandle | None:
        self.sentence.say("")
        try:
            return submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None

    def _submit(self) -> JobHandle:
        config, tissue = self.config(), self.ready.tissue()
        if self.prior.needs_time:
            return self.prior.compute(then=self.run)
        order = Order(
            tissue, self.ready.layer_key, self.prior.way(), config, self.device.currentText(),
            int(self.models.number()), self.ready.genes.column(),
        )  # fmt: skip
        stop = Event()
        title = f"Landscape of {tissue.n_obs:,} cells"
        return self._train(title, lambda: learn_job(order, stop), stop, order.inputs())

    def _submit_more(self) -> JobHandle:
        epochs, stop = self.training.value().num_epochs, Event()
        try:
            way = self.prior.way()
        except CelldynError:  # the model has walks of its own, if it is of these cells
            way = None
        work = self.shelf.job(partial(go_on_job, num_epochs=epochs, way=way, stop=stop))

        def second() -> Job[Learned]:
            _, learned = yield from work()
            return learned

        return self._train(f"Landscape, {epochs:,} epochs more", second, stop, None)

    def _train(
        self,
        title: str,
        source: Callable[[], Job[Learned]],
        stop: Event,
        inputs: dict[str, Any] | None,
    ) -> JobHandle:
        handle = self._runner.submit(
            title,
            source,
            system="landscape",
            writes={key.path() for key in WRITES},
            on_result=partial(self._write, inputs=inputs),
        )
        self._stop = stop
        handle.finished.connect(self._on_finished)
        self.jobs.show_job(handle)
        self.losses.follow(handle)
        self._show_buttons()
        return handle

    def _write(self, learned: Learned, inputs: dict[str, Any] | None = None) -> None:
        from celldyn.data import record

        self.shelf.drop()
        adata = self._workspace.require()
        if inputs is not None:
            record(adata, "landscape.walks", config={}, inputs=inputs)
        self._workspace.announce(learned.write(adata))
        self.results.use(learned.models)
        self.sentence.say(learned.said)
        self._show_landscape()

    def _show_landscape(self) -> None:
        """Colour by the potential, and put the differentiation state beside the tissue."""
        from celldyn.data import Source

        self._workspace.colour = Source("obs", keys.POTENTIAL.name)
        if keys.DIFF_STATE.name in self._place.embedding.keys:
            self._place.embedding.show(keys.DIFF_STATE.name)

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        there = self._workspace.adata is not None
        self.shelf.drop()
        self.sentence.say("" if there else NOTHING_OPEN)
        self.losses.clear()
        self._show_buttons()

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.LANDSCAPE_INFO.path() in written or "uns" in written:
            self.shelf.drop()
            self._show_buttons()

    def _on_changed(self) -> None:
        if self._workspace.adata is not None:
            self.sentence.say("")

    def _on_finished(self, _state: object) -> None:
        self._stop = None
        self._show_buttons()

    def _show_buttons(self) -> None:
        training, there = self._stop is not None, self._workspace.adata is not None
        self.run_button.setEnabled(there and not training)
        self.more_button.setEnabled(self.shelf.is_there and not training)
        self.stop_button.setVisible(training)
        self.stop_button.setEnabled(training)
        self.files.refresh()
