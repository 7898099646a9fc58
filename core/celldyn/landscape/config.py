"""The parameters of the landscape: a tree whose leaves may be set, `cfg.model.z_dim = 10`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator

from celldyn.config import param
from celldyn.errors import ConfigError
from celldyn.landscape.config_tree import Branch, branch

Activation = Literal["logcosh", "relu", "softplus", "identity"]
Preset = Literal["seed", "recommended", "reference"]
"""Names of parameters that belong together; see `LSDConfig.preset`."""
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=16)
]
"""Units of the hidden layers, first to last."""

_SHORT_NAMES = {"sp": "softplus", "id": "identity"}


class LayerDims(Branch):
    """Units of the hidden layers of every network, and the activation of the potential."""

    B_decoder: Widths = param((32, 64), "Hidden layers from B to the cell state.", unit="units")
    z_decoder: Widths = param(
        (128, 256), "Hidden layers from the cell state to expression.", unit="units"
    )
    x_encoder: Widths = param(
        (512, 256), "Hidden layers from expression to the cell state.", unit="units"
    )
    z_encoder: Widths = param(
        (64, 32), "Hidden layers from the cell state to B; sclsd uses those of x_encoder.",
        unit="units",
    )  # fmt: skip
    xl_encoder: Widths = param(
        (64, 32),
        "Hidden layers from expression to the library size, where it is inferred; sclsd uses "
        "those of z_decoder.",
        unit="units",
    )
    potential: Widths = param((32, 32), "Hidden layers of the potential.", unit="units")
    potential_af: Activation = param("logcosh", "Activation of every layer of the potential.")

    @field_validator("potential_af", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:  # noqa: ANN401
        if given is None:
            return "identity"
        if isinstance(given, str):
            return _SHORT_NAMES.get(given.lower(), given.lower())
        raise ValueError(
            "an activation is given by its name, so that a model can be saved: logcosh, relu, "
            "softplus or identity"
        )


class ModelConfig(Branch):
    """What the landscape is made of."""

    z_dim: int = param(10, "Dimensions of the cell state.", ge=1, le=1024)
    B_dim: int = param(2, "Dimensions of the differentiation state.", ge=1, le=64)
    V_coeff: float = param(0.01, "Weight of the largest V² of a batch.", ge=0, le=1e6)
    layer_dims: LayerDims = branch(LayerDims, "Units of every network.", advanced=True)
    library: Literal["observed", "inferred", "reference"] = param(
        "observed",
        "Library size: as observed, inferred around the observed, or as sclsd has it, "
        "from a prior on the wrong scale.",
    )
    likelihood: Literal["zinb", "nb"] = param(
        "zinb", "Counts are negative binomial, with zero inflation or without."
    )
    penalty_scale: Literal["mean", "reference"] = param(
        "mean",
        "Penalties are means per walk and row, or as in sclsd: divided by genes, growing with "
        "the batch.",
        advanced=True,
    )
    confinement: float = param(
        0.0,
        "Adds c/2 |z|² to the potential, so that no cell leaves the data; 0.01 for long runs.",
        ge=0, le=1e3, advanced=True,
    )  # fmt: skip


class AdamConfig(Branch):
    """The optimiser: Adam under cosine warm restarts."""

    lr: float = param(1e-3, "Learning rate at the start of every cycle.", gt=0, le=10)
    eta_min: float = param(
        1e-5, "Learning rate at the end of every cycle; of lr and this the lower holds.", ge=0,
        le=10, advanced=True,
    )  # fmt: skip
    T_0: int = param(
        40, "Epochs of the first cycle of the learning rate.", unit="epochs", ge=1, le=10**6,
        advanced=True,
    )  # fmt: skip
    T_mult: int = param(
        1, "How many times longer every cycle is than the one before.", ge=1, le=100,
        advanced=True,
    )  # fmt: skip
    clip_norm: float = param(
        10.0, "Longest gradient of one tensor that is followed.", gt=0, le=1e9, advanced=True
    )


class KLScheduleConfig(Branch):
    """Weight of what B costs: constant, or a straight line from `min_af` to `max_af`."""

    af: float = param(1.0, "Weight of the terms of B.", ge=0, le=1e6)
    min_af: float | None = param(
        None, "Weight in the first epoch; none is af.", ge=0, le=1e6, advanced=True
    )
    max_af: float | None = param(
        None, "Weight from max_epoch on; none is af.", ge=0, le=1e6, advanced=True
    )
    max_epoch: int = param(
        100, "Epoch in which max_af is reached.", unit="epochs", ge=1, le=10**6, advanced=True
    )

    def weight(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        first = self.af if self.min_af is None else self.min_af
        last = self.af if self.max_af is None else self.max_af
        return first + (last - first) * min(epoch / self.max_epoch, 1.0)


class WassersteinScheduleConfig(Branch):
    """Weight of steps between neighbours of a walk: a straight line from `max_W` to `min_W`."""

    min_W: float = param(1e-4, "Weight from max_epoch on.", ge=0, le=1e6)
    max_W: float = param(1e-3, "Weight in the first epoch.", ge=0, le=1e6)
    max_epoch: int = param(
        50, "Epoch in which min_W is reached.", unit="epochs", ge=1, le=10**6, advanced=True
    )

    def weight(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        return self.max_W + (self.min_W - self.max_W) * min(epoch / self.max_epoch, 1.0)


class OptimizerConfig(Branch):
    """How it is trained."""

    adam: AdamConfig = branch(AdamConfig, "Learning rate and its schedule.")
    kl_schedule: KLScheduleConfig = branch(KLScheduleConfig, "Weight of B.", advanced=True)
    wasserstein_schedule: WassersteinScheduleConfig = branch(
        WassersteinScheduleConfig, "Weight of steps along a walk.", advanced=True
    )
    likelihood_rows: float = param(
        1.0,
        "Share of a batch's rows whose counts are looked at, drawn anew in every step; unbiased, "
        "and 0.25 is several times faster.",
        gt=0, le=1, advanced=True,
    )  # fmt: skip
    balanced_rows: bool = param(
        True,
        "Whether, of a share of the rows, no cell has a second before every cell has one; else "
        "most rows are the few cells that walks end in.",
        advanced=True,
    )


class WalkConfig(Branch):
    """The random walks that it is trained on."""

    batch_size: int = param(256, "Walks that are looked at at once.", unit="walks", ge=1, le=10**7)
    path_len: int = param(10, "Cells of a walk.", unit="cells", ge=2, le=10**5)
    num_walks: int = param(4096, "Walks.", unit="walks", ge=1, le=10**9)
    random_state: int = param(42, "Seed of the walks, and of the training.", ge=0, lt=2**32)
    beta: float = param(
        50.0, "How strictly walks follow pseudotime; 0 goes anywhere.", ge=0, le=1e6, advanced=True
    )
    self_loop: bool = param(False, "Whether a walk may rest in a cell.", advanced=True)
    resample: bool = param(
        True, "Whether every epoch has new walks; those that are seen again are learned by heart.",
        advanced=True,
    )  # fmt: skip


class ODEConfig(Branch):
    """How the flow dz/dt = −∇V is integrated along a walk."""

    method: Literal["rk4", "dopri5"] = param(
        "rk4", "Runge-Kutta of fixed steps on the walk's grid, or of adapted steps."
    )
    substeps: int = param(1, "Steps of rk4 between two cells of a walk.", ge=1, le=1000)
    rtol: float = param(1e-5, "Relative tolerance of dopri5.", gt=0, le=1, advanced=True)
    atol: float = param(1e-6, "Absolute tolerance of dopri5.", gt=0, le=1, advanced=True)
    adjoint: bool = param(
        False, "Whether gradients are integrated backwards, in less memory.", advanced=True
    )


class TrainingConfig(Branch):
    """How long it is trained, and what tells when to stop."""

    num_epochs: int = param(100, "Times that all walks are seen.", unit="epochs", ge=1, le=10**6)
    validation_share: float = param(
        0.1, "Share of the cells whose counts are held out and judge the training.", ge=0, lt=0.9
    )
    early_stopping: bool = param(
        False, "Whether training ends when the held-out loss stands still, at its best."
    )
    patience: int = param(
        20, "Epochs without improvement after which it ends.", unit="epochs", ge=1, le=10**6,
        advanced=True,
    )  # fmt: skip
    min_delta: float = param(
        1e-4, "What counts as improvement, in nats per count.", ge=0, le=10, advanced=True
    )


class LSDConfig(Branch):
    """The whole tree.

    Examples
    --------
    >>> cfg = LSDConfig()
    >>> cfg.model.z_dim = 10
    >>> cfg.walks.path_len = 50
    >>> cfg.optimizer.adam.lr = 1e-3
    """

    model: ModelConfig = branch(ModelConfig, "What the landscape is made of.")
    optimizer: OptimizerConfig = branch(OptimizerConfig, "How it is trained.")
    walks: WalkConfig = branch(WalkConfig, "What it is trained on.")
    training: TrainingConfig = branch(TrainingConfig, "How long it is trained.")
    ode: ODEConfig = branch(ODEConfig, "How its flow is integrated.", advanced=True)

    @classmethod
    def preset(cls, name: Preset = "recommended") -> Self:
        """Return the parameters that belong together under a name.

        Parameters
        ----------
        name
            "seed": the defaults. "recommended": short walks, a fourth of the rows, and a fast
            rate that falls once, over 30 epochs; fates and time come out better on every set of
            `benchmarks/bench_landscape_truth.py`, and sooner. "reference": as sclsd has it.

        Raises
        ------
        ConfigError
            If there is no preset of that name.

        Notes
        -----
        At β = 50 ten steps run through the whole of a tree of some thousand cells: such walks say
        no more than that all end at tips. Four steps tell which way the next is.
        """
        if name not in get_args(Preset):
            known = ", ".join(get_args(Preset))
            raise ConfigError(f"there is no preset {name!r}", f"use one of {known}")
        cfg = cls()
        if name == "recommended":
            cfg.walks.path_len = 4
            cfg.optimizer.likelihood_rows = 0.25
            cfg.optimizer.adam.lr = 4e-3
            cfg.optimizer.adam.T_0 = cfg.training.num_epochs = 30
        if name == "reference":
            cfg.model.library = cfg.model.penalty_scale = "reference"
            cfg.walks.resample = cfg.optimizer.balanced_rows = False
            cfg.training.validation_share = 0.0
            # Its schedule never moves.
            cfg.optimizer.adam.eta_min = cfg.optimizer.adam.lr
        return cfg
