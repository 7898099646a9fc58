"""The parameters of the virtual cell environment: its data, space, rewards, policy, training."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import model_validator

from celldyn.config import Config, param

Preset = Literal["recommended", "seed"]
Part = TypeVar("Part", bound=Config)


class DataConfig(Config):
    """Which modalities are seen and which are to be told from them, and how they are prepared.

    Modalities are counted from 0 in the order in which they were given. Lists of one number per
    modality may have a single one, which then is for all (seed 004, specs/environment.md B).
    """

    input_modalities: list[int] | None = param(
        None, "Modalities that cells see; none: all that are no target, or all."
    )
    target_modalities: list[int] | None = param(
        None, "Modalities that positions are to tell; none: all."
    )
    spatial: list[int] = param(
        [], "Modalities that are coordinates: only distances count, not where the origin is."
    )
    partition_cols: list[str] = param(
        [], "Columns of obs whose combinations keep cells apart: they never meet."
    )
    sample_counts: list[float] = param(
        [], "Counts that every cell is scaled to, per modality; 0 leaves them.", unit="counts"
    )
    log_modalities: list[int] = param([], "Modalities of which log(1 + x) is taken.")
    pca_dim: list[int] = param(
        [512], "Principal components per modality; 0 takes all features as they are."
    )
    top_variant: int | None = param(
        None, "How many of the most variable features are kept; none: all.", ge=1, advanced=True
    )
    train_mask: str | None = param(None, "Column of obs that says which cells are trained on.")
    train_split: float = param(
        1.0, "Share of the cells, or of the partitions, that are trained on.", gt=0, le=1
    )
    train_partitions: bool = param(
        False, "Whether the share is one of whole partitions.", advanced=True
    )
    backed: bool = param(False, "Whether matrices stay on disk and are read in blocks.")

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> Self:
        if self.train_mask is not None and self.train_split < 1:
            raise ValueError("train_mask and train_split both say which cells train; give one")
        return self


class SpaceConfig(Config):
    """The space that cells move in, and when an episode ends.

    Times are in seconds of the environment, of `delta` each step. Source: specs/environment.md A.
    """

    dim: int = param(8, "Dimensions of the space.", ge=1, le=1024)
    delta: float = param(0.1, "Time of one step.", unit="s", gt=0, le=10, advanced=True)
    friction_force: float = param(
        0.0, "What slows cells; above 0 they come to rest.", ge=0, le=1000
    )
    vel_bound: float = param(1.0, "Largest speed along a dimension.", gt=0, advanced=True)
    force_bound: float | None = param(
        None, "Largest force along a dimension; none: unbounded.", gt=0, advanced=True
    )
    pos_bound: float | None = param(
        None, "Where space ends along a dimension; none: nowhere.", gt=0, advanced=True
    )
    pos_rand_bound: float = param(1.0, "Spread of positions at the start.", ge=0, advanced=True)
    vel_rand_bound: float = param(1.0, "Spread of velocities at the start.", ge=0, advanced=True)
    uniform_bounds: bool = param(
        False, "Whether starts are uniform within these, not normal.", advanced=True
    )
    spherical: bool = param(
        False, "Whether bounds are on lengths of vectors, not on dimensions.", advanced=True
    )
    discrete: bool = param(
        False, "Whether a cell pushes back, not, or forth along a dimension.", advanced=True
    )
    discrete_force: float = param(1.0, "How strong such a push is.", gt=0, advanced=True)
    target_noise: bool = param(False, "Whether what they are to tell is noisy.", advanced=True)
    noise_std: float = param(0.1, "Standard deviation of that noise.", ge=0, advanced=True)
    min_time: float = param(64.0, "Shortest episode.", unit="s", gt=0, advanced=True)
    max_time: float = param(128.0, "Longest episode.", unit="s", gt=0, advanced=True)
    eval_time: float = param(
        32.0, "From when on positions are taken to tell the targets.", unit="s", ge=0,
        advanced=True,
    )  # fmt: skip
    terminate_min_time: bool = param(
        True, "Whether no episode ends before the shortest time.", advanced=True
    )
    terminate_max_time: bool = param(
        True, "Whether episodes end at the longest time.", advanced=True
    )
    terminate_random: bool = param(
        True, "Whether episodes end at a random time between both.", advanced=True
    )
    terminate_bound: bool = param(
        False, "Whether an episode ends where a cell leaves space.", advanced=True
    )
    terminate_velocity: bool = param(
        False, "Whether an episode ends where cells stand still.", advanced=True
    )
    vel_threshold: float = param(
        1e-3, "Mean squared speed below which they do.", gt=0, advanced=True
    )
    reflection: bool = param(
        False, "Whether a mirror image of coordinates counts as the same.", advanced=True
    )
    epsilon: float = param(1e-7, "What keeps divisions finite.", gt=0, le=1e-2, advanced=True)

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        if self.min_time > self.max_time:
            raise ValueError(f"min_time {self.min_time:g} is above max_time {self.max_time:g}")
        if not (self.terminate_max_time or self.terminate_random or self.terminate_bound
                or self.terminate_velocity):  # fmt: skip
            raise ValueError("no episode ever ends: let one of the ways to end act")
        return self


class RewardConfig(Config):
    """What cells are rewarded for; the weight of each term (specs/environment.md A)."""

    reward_pinning: float = param(1.0, "For positions that tell the targets better.", ge=0, le=1e6)
    penalty_velocity: float = param(1.0, "For becoming slower.", ge=0, le=1e6)
    penalty_action: float = param(1.0, "Against strong pushes.", ge=0, le=1e6)
    penalty_bound: float = param(0.0, "Against leaving space.", ge=0, le=1e6, advanced=True)
    reward_origin: float = param(
        0.0, "For coming nearer to the origin.", ge=0, le=1e6, advanced=True
    )
    reward_distance: float = param(
        0.0, "For distances as those of the targets.", ge=0, le=1e6, advanced=True
    )


class PolicyConfig(Config):
    """The network that moves cells (specs/environment.md B)."""

    attention_heads: int = param(2, "Heads of the attention over other cells.", ge=1, le=64)
    attention_blocks: int = param(1, "Blocks of attention.", ge=1, le=64)
    standardization_beta: float = param(
        3e-3, "How fast running scales follow what is seen.", gt=0, le=1, advanced=True
    )
    vision: Literal["auto", "full", "landmarks"] = param(
        "auto", "Whether a cell sees all others, or some that all see; auto: all up to full_up_to."
    )
    vision_size: int = param(
        1000, "How many such landmarks there are.", unit="cells", ge=1, le=1_000_000
    )
    full_up_to: int = param(
        10_000, "Up to how many cells all are seen.", unit="cells", ge=1, advanced=True
    )
    forward_batch_size: int = param(
        1000, "Cells computed at once, which bounds memory.", unit="cells", ge=1, advanced=True
    )
    initial_slope: float = param(
        0.25, "Slope of PReLU below 0 at the start; 1 makes the network linear.", ge=-1, le=1,
        advanced=True,
    )  # fmt: skip
    initial_std: float = param(
        1.0, "Standard deviation of forces around what the policy means, at the start.", gt=0,
        le=100, advanced=True,
    )  # fmt: skip
    actor_gain: float = param(
        0.1, "Scale of the actor's last layer at the start.", gt=0, le=10, advanced=True
    )


class TrainingConfig(Config):
    """How policy and pinning networks are trained (specs/environment.md B, Decisions 6)."""

    num_cells_min: int = param(512, "Fewest cells of an episode.", unit="cells", ge=2)
    num_cells_max: int = param(2048, "Most cells of an episode.", unit="cells", ge=2)
    num_environments: int | None = param(
        None, "Episodes that run side by side; none: as many as give long enough parts of each.",
        ge=1, le=1_000_000,
    )  # fmt: skip
    update_timesteps: int = param(
        1_000_000, "Cell-steps between updates.", unit="cell-steps", ge=1
    )
    max_timesteps: int = param(800_000_000, "Cell-steps in all.", unit="cell-steps", ge=1)
    update_iterations: int = param(5, "Draws of cell-steps per update.", ge=1, le=10_000)
    epoch_size: int = param(100_000, "Cell-steps of a draw.", unit="cell-steps", ge=1)
    batch_size: int = param(10_000, "Cell-steps of an optimiser step.", unit="cell-steps", ge=1)
    minibatch_memories: int = param(
        1_000_000, "Cell-steps held at once in an optimiser step, which bounds memory.", ge=1,
        advanced=True,
    )  # fmt: skip
    warm_start_steps: int = param(
        0,
        "Steps of imitation first: of cells that go where a linear code of targets says.",
        ge=0,
    )
    critic_updates: int = param(
        0, "Updates at first in which only the critic learns, after such a start.", ge=0,
        advanced=True,
    )  # fmt: skip
    no_bootstrap: bool = param(
        False, "Whether what lies beyond the end of an episode is worth nothing.", advanced=True
    )
    gamma: float = param(0.99, "What the next step's reward is worth.", ge=0, lt=1, advanced=True)
    gae_lambda: float = param(0.95, "How far advantages look ahead.", ge=0, le=1, advanced=True)
    clip: float = param(0.2, "How far new and old policy may differ.", gt=0, lt=1, advanced=True)
    critic_weight: float = param(1.0, "Weight of the critic's loss.", ge=0, advanced=True)
    entropy_weight: float = param(1e-3, "Weight of the entropy.", ge=0, advanced=True)
    kl_beta: float = param(0.0, "Weight of the KL divergence; adapts if above 0.", ge=0,
                           advanced=True)  # fmt: skip
    kl_target: float = param(0.03, "The divergence aimed at.", gt=0, advanced=True)
    kl_early_stop: bool = param(
        False, "Whether an update ends, and is undone, beyond 1.5 times that.", advanced=True
    )
    lr: float = param(3e-4, "Step of the policy's optimiser.", gt=0, le=1)
    lr_final: float = param(
        1.0, "What is left of it at the end, falling evenly.", ge=0, le=1, advanced=True
    )
    clip_norm: float = param(0.5, "Longest gradient that is followed.", gt=0, advanced=True)
    weight_decay: float = param(1e-5, "Shrinkage of weights (L2).", ge=0, le=1, advanced=True)
    pinning_lr: float = param(3e-4, "Step of the pinning networks.", gt=0, le=1, advanced=True)
    pinning_epochs: int = param(5, "Epochs of theirs per update.", ge=1, advanced=True)
    pinning_batches: int = param(16, "Batches of such an epoch.", ge=1, advanced=True)
    pinning_batch_size: int = param(
        64, "Cells of such a batch.", unit="cells", ge=1, advanced=True
    )
    snapshots: Literal["late", "eval_time"] = param(
        "late", "Positions that teach them: all from eval_time on, or those at that time only.",
        advanced=True,
    )  # fmt: skip
    early_stopping: bool = param(False, "Whether training ends when the reward stands still.")
    early_stopping_patience: int = param(
        6, "Updates without a better reward until then.", unit="updates", ge=1, advanced=True
    )
    early_stopping_delta: float = param(0.01, "What counts as better.", ge=0, advanced=True)
    early_stopping_average: int = param(
        3, "Updates that a reward is averaged over.", unit="updates", ge=1, advanced=True
    )
    num_gpus: int | None = param(
        None, "GPUs to use; none: one, where there is one.", ge=0, advanced=True
    )
    num_learners: int | None = param(
        None,
        "Learners side by side (on Ray); none: one per GPU that is used.",
        ge=1,
        advanced=True,
    )
    num_runners: int | None = param(
        None, "Runners of episodes side by side; none: as many as learners.", ge=1, advanced=True
    )
    dont_sync_across_nodes: bool = param(
        False, "Whether memories stay on the machine that made them.", advanced=True
    )
    checkpoint_iterations: int = param(
        50, "Updates between checkpoints.", unit="updates", ge=1, advanced=True
    )
    flush_iterations: int = param(
        1, "Updates between writings of the log.", unit="updates", ge=1, advanced=True
    )
    seed: int = param(0, "Seed of everything random.", ge=0, lt=2**32)

    @model_validator(mode="after")
    def _sizes_are_in_order(self) -> Self:
        if self.num_cells_min > self.num_cells_max:
            raise ValueError(
                f"num_cells_min {self.num_cells_min} is above num_cells_max {self.num_cells_max}"
            )
        return self


class EnvironmentConfig(DataConfig, SpaceConfig, RewardConfig, PolicyConfig, TrainingConfig):
    """Everything about one virtual cell environment."""

    @classmethod
    def preset(cls, name: Preset, **changes: Any) -> Self:  # noqa: ANN401
        """Return the parameters of a preset, some of them changed.

        "seed" has the defaults of the reference's command line; "recommended" trains in minutes
        on one core: imitation first, fewer cells per episode, smaller updates.
        """
        return cls(**{**PRESETS[name], **changes})

    def _part(self, kind: type[Part]) -> Part:
        return kind(**{field: getattr(self, field) for field in kind.model_fields})

    @property
    def data(self) -> DataConfig:
        """Those of the data."""
        return self._part(DataConfig)

    @property
    def space(self) -> SpaceConfig:
        """Those of the space."""
        return self._part(SpaceConfig)

    @property
    def rewards(self) -> RewardConfig:
        """Those of the rewards."""
        return self._part(RewardConfig)

    @property
    def policy(self) -> PolicyConfig:
        """Those of the policy."""
        return self._part(PolicyConfig)

    @property
    def training(self) -> TrainingConfig:
        """Those of the training."""
        return self._part(TrainingConfig)


PRESETS: dict[Preset, dict[str, Any]] = {
    "recommended": {
        "warm_start_steps": 2000, "critic_updates": 3, "initial_std": 0.5, "lr": 3e-4,
        "lr_final": 0.1, "pinning_lr": 3e-3,
        "num_cells_min": 128, "num_cells_max": 256, "update_timesteps": 131_072,
        "update_iterations": 1, "epoch_size": 65_536, "batch_size": 512, "eval_time": 20.0,
        "max_timesteps": 4_000_000,
    },
    "seed": {
        "dim": 32, "initial_slope": 1.0, "actor_gain": 1.0, "snapshots": "eval_time",
    },
}  # fmt: skip
"""What a preset gives that is not the default."""
