"""The dock of virtual cells: learn how they move so that places tell data, then live with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.session import session
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.environment_data import EnvironmentData
from napari_celldyn.widgets.environment_files import EnvironmentFiles
from napari_celldyn.widgets.environment_form import EnvironmentForm
from napari_celldyn.widgets.environment_modalities import data_config, tables
from napari_celldyn.widgets.environment_model import EnvironmentShelf
from napari_celldyn.widgets.environment_results import EnvironmentResults
from napari_celldyn.widgets.environment_training import Learned, Order, go_on_job, learn_job
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.loss_curve import LossCurve
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.environment.config import EnvironmentConfig
    from celldyn.jobs import Job
    from napari_celldyn.handle import JobHandle

DEVICES = ("auto", "cpu", "cuda", "mps")
NOTHING_OPEN = "No tissue is open; open a file or a sample."


class EnvironmentWidget(Dock):
    """Trains a virtual environment of the tissue in view, and lets its cells live in it.

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
        self.shelf = EnvironmentShelf(self._workspace)
        self._stop: Event | None = None
        self.data, self.form = EnvironmentData(place), EnvironmentForm()
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.device.setToolTip("Where it is trained")
        self.sentence = ErrorSentence()
        self.run_button, self.more_button = QPushButton("Run"), QPushButton("Go on")
        self.stop_button = QPushButton("Stop")
        self.run_button.setToolTip("Learn a new environment")
        self.more_button.setToolTip("Train the environment that is there for as many steps more")
        self.stop_button.setToolTip("End training with the last whole update, and keep it")
        self.jobs = CardPlace(self._runner, shows_metrics=False)
        self.curves = LossCurve(one_at_a_time=True, together={"rewards": "reward"})
        self.files = EnvironmentFiles(self._runner, self.shelf, self.data.modalities)
        self.results = EnvironmentResults(place, self.shelf, self.data)
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
        row.addRow("device", self.device)
        self.fill(
            (
                ("Cells that move so that their places tell what they are", self.data),
                ("Training", self.form),
                ("", device),
                ("", self.sentence),
                ("", buttons),
                ("", self.jobs),
                ("", self.curves),
                ("", self.files),
                ("", self.results),
            )
        )

    def _connect(self) -> None:
        self.run_button.clicked.connect(self.run)
        self.more_button.clicked.connect(self.go_on)
        self.stop_button.clicked.connect(self.stop)
        self.files.opened.connect(self._open)
        for part in (self.data, self.form):
            part.changed.connect(self._on_changed)
        listen(self, self._workspace.data_changed, self._on_data)

    # --- what is asked ------------------------------------------------------------------------

    def config(self) -> EnvironmentConfig:
        """Return the config as the dock stands.

        Raises
        ------
        CelldynError
            If a field is wrong, or the modalities cannot be.
        """
        asked: EnvironmentConfig = self.form.value()
        data = data_config(
            self._workspace.require(), self.data.modalities.chosen(), asked.data,
            partition=self.data.partition_key(), held=self.data.held(),
        )  # fmt: skip
        config: EnvironmentConfig = asked.replace(**data.model_dump())
        return config

    def run(self) -> JobHandle | None:
        """Start to learn an environment; None, and a sentence, if that cannot be."""
        return self._start(self._submit)

    def go_on(self) -> JobHandle | None:
        """Start to train the environment that is there for longer."""
        return self._start(self._submit_more)

    def stop(self) -> None:
        """End the training with the last whole update; what it came to is kept."""
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

    def _order(self) -> Order:
        adata, chosen = self._workspace.require(), self.data.modalities.chosen()
        config, held = self.config(), self.data.held()
        return Order(tables(adata, chosen, held), tuple(chosen), config, self.device.currentText())

    def _submit(self) -> JobHandle:
        order, stop = self._order(), Event()
        title = f"Environment of {self._workspace.require().n_obs:,} cells"
        return self._train(title, lambda: learn_job(order, stop), stop, order)

    def _submit_more(self) -> JobHandle:
        learned, order, stop = self.shelf.require(), self._order(), Event()
        title = f"Environment, {order.config.max_timesteps:,} cell-steps more"
        return self._train(title, lambda: go_on_job(learned.fitted, order, stop), stop, order)

    def _train(
        self, title: str, source: Callable[[], Job[Learned]], stop: Event, order: Order
    ) -> JobHandle:
        handle = self._runner.submit(
            title,
            source,
            system="environment",
            writes={keys.ENVIRONMENT_INFO.path()},
            on_result=partial(self._write, order=order),
        )
        self._stop = stop
        handle.finished.connect(self._on_finished)
        self.jobs.show_job(handle)
        self.curves.follow(handle)
        self._show_buttons()
        return handle

    def _write(self, learned: Learned, order: Order) -> None:
        from celldyn.data import record

        adata = self._workspace.require()
        config = learned.fitted.config
        record(adata, "environment.train", config=config, inputs=order.inputs())
        self._put(learned)

    def _open(self, learned: Learned) -> None:
        """Take an environment that was read from a file."""
        from celldyn.data import record

        inputs = {"modalities": list(learned.sources)}
        config = learned.fitted.config
        record(self._workspace.require(), "environment.train", config=config, inputs=inputs)
        self._put(learned)

    def _put(self, learned: Learned) -> None:
        """Write an environment on the tissue, and show it."""
        from napari_celldyn.widgets.environment_writing import write_model

        self.shelf.keep(learned)
        self._workspace.announce(write_model(self._workspace.require(), learned.fitted))
        self.sentence.say(learned.said)
        self._show_buttons()
        self.results.refresh()

    # --- following ----------------------------------------------------------------------------

    def _on_data(self) -> None:
        self.sentence.say("" if self._workspace.adata is not None else NOTHING_OPEN)
        self.curves.clear()
        self.jobs.clear()
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
        self.more_button.setEnabled(self.shelf.learned is not None and not training)
        self.stop_button.setVisible(training)
        self.stop_button.setEnabled(training)
        self.files.refresh()
