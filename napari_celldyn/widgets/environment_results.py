"""What a trained environment can be asked: its cells live, are perturbed, ranked and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.drawer import Drawer
from napari_celldyn.widgets.environment_export import EnvironmentExport
from napari_celldyn.widgets.environment_modalities import Modality, tables
from napari_celldyn.widgets.environment_perturb import EnvironmentPerturb
from napari_celldyn.widgets.environment_player import EnvironmentPlayer
from napari_celldyn.widgets.environment_scores import EnvironmentScores
from napari_celldyn.widgets.environment_screen import EnvironmentScreen
from napari_celldyn.widgets.environment_stage import EnvironmentStage
from napari_celldyn.widgets.environment_stages import EnvironmentStages
from napari_celldyn.widgets.environment_states import EnvironmentStates
from napari_celldyn.widgets.environment_view import EnvironmentView
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.environment.fitted import FittedEnvironment
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_data import EnvironmentData
    from napari_celldyn.widgets.environment_model import EnvironmentShelf

ALL = "all cells"


class EnvironmentResults(QWidget):
    """Puts cells into the environment and asks what they do; hidden without an environment.

    Parameters
    ----------
    session
        What the viewer's docks share.
    shelf
        The environment of the tissue in view.
    data
        Says which cells may meet.
    """

    def __init__(
        self,
        session: Session,
        shelf: EnvironmentShelf,
        data: EnvironmentData,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._workspace = session, session.workspace
        self._shelf, self._data = shelf, data
        self.summary, self.sentence = wrapped(), ErrorSentence()
        self.who, self.enter_button = QComboBox(), QPushButton("Enter")
        self.who.setToolTip("Cells that live in the environment together; others never meet them")
        self.enter_button.setToolTip("Put these cells into the environment, at random places")
        self.jobs = CardPlace(session.runner)
        self.stage = EnvironmentStage(session, self)
        self.player, self.view = EnvironmentPlayer(self.stage), EnvironmentView(self.stage)
        self.perturb = EnvironmentPerturb(session, self.stage)
        self.states = EnvironmentStates(self.stage)
        self.screen = EnvironmentScreen(session, self.stage, self.perturb)
        self.export = EnvironmentExport(session, self.stage)
        self.scores = EnvironmentScores(session, shelf)
        self.stages = EnvironmentStages(session, shelf)
        self.drawers = {
            "Look": Drawer("How they are shown", self.view),
            "Perturb": Drawer("Perturb", self.perturb),
            "States": Drawer("States", self.states),
            "Rank": Drawer("Rank genes", self.screen),
            "Export": Drawer("Keep and export", self.export),
        }
        self.always = {
            "Scores": Drawer("Scores", self.scores),
            "Stages": Drawer("Stages", self.stages),
        }
        self._lay_out()
        self.enter_button.clicked.connect(self.enter)
        self.stage.failed.connect(self.sentence.say)
        self.stage.changed.connect(self._on_stage)
        listen(self, self._workspace.data_changed, self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("cells", self.who)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(QLabel("<b>Life in the environment</b>"))
        column.addWidget(self.summary)
        column.addLayout(form)
        for part in (self.enter_button, self.jobs, self.player, self.sentence,
                     *self.drawers.values(), *self.always.values()):  # fmt: skip
            column.addWidget(part)

    def refresh(self) -> None:
        """Look again what there is."""
        fitted = self._shelf.fitted
        self.setVisible(fitted is not None)
        self.stage.close()
        self.scores.refresh()
        self.stages.forget()
        self.sentence.say(self._shelf.problem)
        self.summary.setText("" if fitted is None else in_words(fitted))
        with signals_blocked(self.who):
            self.who.clear()
            self.who.addItems(self._groups())
        self._on_stage()

    # --- entering -----------------------------------------------------------------------------

    def enter(self) -> JobHandle | None:
        """Start to put the cells into the environment; None, and a sentence, if that cannot be."""
        from napari_celldyn.widgets.environment_opening import Opened, open_job

        self.sentence.say("")
        try:
            learned, adata = self._shelf.require(), self._workspace.require()
            chosen = [Modality(source, "", "") for source in learned.sources]
            parts, at = tables(adata, chosen), self.positions()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        seed = int(self.player.seed.number())

        def take(opened: Opened) -> None:
            self.jobs.clear()
            if self._shelf.learned is learned and self._workspace.adata is adata:
                self.stage.open(opened)

        handle = self._session.runner.submit(
            f"{len(at):,} cells enter the environment",
            lambda: open_job(learned, parts, at, seed=seed),
            system="environment",
            on_result=take,
        )
        self.jobs.show_job(handle)
        return handle

    def positions(self) -> NDArray[np.intp]:
        """Return which cells are chosen to live together, ascending."""
        adata = self._workspace.require()
        key, name = self._partition(), self.who.currentText()
        if key is None or name in ("", ALL):
            return np.arange(adata.n_obs)
        held = adata.obs[key].astype(str).to_numpy()
        return np.flatnonzero(held == name)

    def _partition(self) -> str | None:
        fitted, adata = self._shelf.fitted, self._workspace.adata
        if fitted is None or adata is None:
            return None
        columns = [name for name in fitted.config.partition_cols if name in adata.obs]
        return columns[0] if columns else self._data.partition_key()

    def _groups(self) -> list[str]:
        adata, key = self._workspace.adata, self._partition()
        if adata is None or key is None or key not in adata.obs:
            return [ALL]
        return [*sorted(set(adata.obs[key].dropna().astype(str))), ALL]

    def _on_stage(self) -> None:
        there = self.stage.cells is not None
        self.player.setVisible(there)
        for drawer in self.drawers.values():
            drawer.setVisible(there)
        self.enter_button.setText("Enter anew" if there else "Enter")


def in_words(fitted: FittedEnvironment) -> str:
    """Say what was learned, for how long, and what to know of it."""
    words = (
        f"{fitted.dim} dimensions, {fitted.policy.n_features:,} features seen, "
        f"{fitted.timesteps:,} cell-steps"
    )
    if fitted.history and "reward" in fitted.history[-1]:
        words += f", reward {fitted.history[-1]['reward']:.2f}"
    return " ".join([f"{words}.", *(f"{note.rstrip('.')}." for note in fitted.notes)])
