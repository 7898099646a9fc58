"""The dock of the regularised VAE: choose keys, fit it in the background, see what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QPushButton, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from celldyn.vae.config import ModelConfig, TrainConfig, VAEConfig
from napari_celldyn.session import session
from napari_celldyn.widgets.card_place import CardPlace
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.form import ConfigForm
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.loss_curve import LossCurve
from napari_celldyn.widgets.sentence import ErrorSentence
from napari_celldyn.widgets.vae_keys import VAEKeys
from napari_celldyn.widgets.vae_results import VAEResults

if TYPE_CHECKING:
    from napari import Viewer

    from celldyn.jobs import Job
    from celldyn.vae import VAEResult
    from celldyn.vae.inputs import VAEInputs
    from napari_celldyn.handle import JobHandle

OF_SEVERAL = ("latent_mode", "modality_weights", "per_modality", "modality_lr_multiplier")
"""Parameters of several modalities: a tissue in view has one."""

_LETTERS = 4
"""That a list shows at least: it stands beside its name then, in the narrowest dock."""

NOTHING_OPEN = "No tissue is open; open a file or a sample."


class VAEWidget(Dock):
    """Fits a regularised VAE to the tissue and shows what it found.

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
        self.keys = VAEKeys(self._workspace)
        maybe = {
            name: (True, False)
            for name, field in ModelConfig.model_fields.items()
            if field.annotation == bool | None
        }
        self.model = ConfigForm(ModelConfig, overrides=maybe, hidden=OF_SEVERAL)
        self.training = ConfigForm(TrainConfig, hidden=OF_SEVERAL)
        self.folds = (Fold("Model"), Fold("Training"))
        for fold, form in zip(self.folds, (self.model, self.training), strict=True):
            fold.addWidget(form)
            for box in form.findChildren(QComboBox):
                box.setMinimumContentsLength(_LETTERS)
        self.sentence = ErrorSentence()
        self.run_button = QPushButton("Run")
        self.jobs = CardPlace(self._runner, shows_metrics=False)
        self.losses = LossCurve(one_at_a_time=True)
        self.results = VAEResults(place)
        self.fill(
            (
                ("Cell states without ambient RNA, batches and noise", self.keys),
                ("", self.folds[0]),
                ("", self.folds[1]),
                ("", self.sentence),
                ("", self.run_button),
                ("", self.jobs),
                ("", self.losses),
                ("Results", self.results),
            )
        )
        self.run_button.clicked.connect(self.run)
        self.keys.changed.connect(self._on_changed)
        self.model.changed.connect(self._on_changed)
        self.training.changed.connect(self._on_changed)
        listen(self, self._workspace.data_changed, self._on_data)
        self._on_data()

    def config(self) -> VAEConfig:
        """Return the config as the dock stands.

        Raises
        ------
        CelldynError
            If a field is wrong, or a column cannot serve.
        """
        values: dict[str, Any] = {**self.model.raw(), **self.training.raw(), **self.keys.values()}
        return VAEConfig(**values, one_batch=self.keys.one_batch)

    def run(self) -> JobHandle | None:
        """Start the fit in the background; None, and a sentence, if it cannot be started."""
        self.sentence.say("")
        try:
            handle = self._submit()
        except CelldynError as error:
            self.sentence.say(str(error))
            return None
        self.jobs.show_job(handle)
        self.losses.follow(handle)
        return handle

    def _submit(self) -> JobHandle:
        from celldyn.vae import prepare_job

        adata, config = self._workspace.require(), self.config()
        return self._runner.submit(
            f"VAE of {adata.n_obs:,} cells",
            _fit_job(prepare_job(adata, config), config),
            system="vae",
            writes={keys.LATENT.path(), keys.VAE_INFO.path()},
            on_result=self._write,
        )

    def _write(self, result: VAEResult) -> None:
        from celldyn.vae import write_result

        adata = self._workspace.require()
        self._workspace.announce(write_result(adata, result))
        self.results.umap.run()

    def _on_data(self) -> None:
        there = self._workspace.adata is not None
        self.run_button.setEnabled(there)
        self.sentence.say("" if there else NOTHING_OPEN)
        self.losses.clear()

    def _on_changed(self) -> None:
        if self._workspace.adata is not None:
            self.sentence.say("")


def _fit_job(reading: Job[VAEInputs], config: VAEConfig) -> Job[VAEResult]:
    """Read the counts, then fit: a large matrix takes seconds to look through."""
    from celldyn.vae import fit_job

    inputs = yield from reading
    return (yield from fit_job(inputs, config))
