"""Every key that celldyn reads or writes on an AnnData, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Slot = Literal["obs", "var", "obsm", "varm", "obsp", "layers", "uns"]


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table.

    Parameters
    ----------
    slot
        The part of the AnnData.
    name
        The key; `{gene}` and the like are filled in by calling the row.
    system
        Who writes it: "user", "data", or a system.
    what
        Shape, unit and meaning.
    """

    slot: Slot
    name: str
    system: str
    what: str

    def __call__(self, **parts: str) -> str:
        """Fill in the name; "/" would make a folder inside the file, so it is escaped."""
        return self.name.format(**{k: v.replace("/", "%2F") for k, v in parts.items()})

    def path(self, **parts: str) -> str:
        """Slot and name, as in "obsm/betas_Myc": what jobs claim and workspaces announce."""
        return f"{self.slot}/{self(**parts)}"


SPATIAL = Key("obsm", "spatial", "user", "(n_obs, 2 or 3) coordinates; unit in uns['celldyn']")
CELLDYN = Key("uns", "celldyn", "data", "the root of all that follows in uns")
UNIT = Key("uns", "spatial_unit", "data", "in uns['celldyn']: 'um' or 'unknown'")
UM_PER_UNIT = Key("uns", "um_per_unit", "data", "in uns['celldyn']: µm of one coordinate unit")
SECTION = Key("uns", "section_key", "data", "in uns['celldyn']: obs column naming the section")
RECORDS = Key("uns", "records", "data", "in uns['celldyn']: (n_records,) JSON lines, provenance")
TRUTH = Key("uns", "truth", "simulate", "ground truth of a simulated tissue, with schema version")
COLOURS = Key("uns", "{column}_colors", "data", "(n_categories,) hex colours, scanpy's convention")

NUCLEUS_RADII = Key(
    "obsm",
    "nucleus_radii",
    "simulate",
    "(n_obs, n_rays) float32 µm from the cell's centre, on rays at 2πk/n_rays from the x axis",
)
CELL_RADII = Key(
    "obsm", "cell_radii", "simulate", "(n_obs, n_rays) float32 µm, on the rays of nucleus_radii"
)
TRUTH_LATENT = Key("obsm", "truth_latent", "simulate", "(n_obs, n_dims) true state z")
TRUTH_VELOCITY = Key("obsm", "truth_velocity", "simulate", "(n_obs, n_dims) true -∇V(z)")
TRUTH_FATES = Key("obsm", "truth_fates", "simulate", "(n_obs, n_fates) true fate probabilities")
TRUTH_POTENTIAL = Key("obs", "truth_potential", "simulate", "(n_obs,) true V(z)")
TRUTH_TIME = Key("obs", "truth_time", "simulate", "(n_obs,) true time")
TRUTH_FATE = Key("obs", "truth_fate", "simulate", "(n_obs,) fate that the cell's own path reaches")
TRUTH_STATE = Key("obs", "truth_state", "simulate", "(n_obs,) root, trunk or branch of the state")
TRUTH_FATE_ENTROPY = Key(
    "obs", "truth_fate_entropy", "simulate", "(n_obs,) entropy of truth_fates, nats"
)
TRUTH_AMBIENT = Key("layers", "truth_ambient", "simulate", "(n_obs, n_vars) ambient part of X")
TRUTH_STEP = Key(
    "layers", "truth_{step}", "simulate", "(n_obs, n_vars) counts before a technical step"
)
TRUTH_EXPECTED = Key(
    "layers", "truth_expected", "simulate", "(n_obs, n_vars) float32 native means before any noise"
)
TRUTH_SPILL = Key(
    "obsp",
    "truth_spill",
    "simulate",
    "(n_obs, n_obs) share of a cell's molecules in its neighbours",
)
TRUTH_COMPOSITION = Key(
    "obsm", "truth_composition", "simulate", "(n_spots, n_types) true shares of the cell types"
)
PLATFORM = Key("uns", "platform", "simulate", "of a platform's table: kind, name, shape, size_um")
SPLICED = Key("layers", "spliced", "simulate", "(n_obs, n_vars) spliced counts")
UNSPLICED = Key("layers", "unspliced", "simulate", "(n_obs, n_vars) unspliced counts")

BETAS = Key(
    "obsm",
    "betas_{gene}",
    "betas",
    "(n_obs, 1 + n_modulators) float64 coefficients of one target gene; 0 where skipped",
)
BETAS_INFO = Key(
    "uns",
    "betas_{gene}",
    "betas",
    "in uns['celldyn']: columns, scores, held-out scores and config of one target gene",
)
BETAS_STORE = Key(
    "uns",
    "betas_store",
    "betas",
    "in uns['celldyn']: the panel's zarr folder, as seen from the folder of the file",
)
BETAS_R2 = Key(
    "var", "betas_r2", "betas", "(n_vars,) training R² of a panel, mean over cells; NaN if absent"
)
BETAS_HELDOUT_R2 = Key(
    "var", "betas_heldout_r2", "betas", "(n_vars,) R² on held-out blocks, mean over cells"
)
BETAS_DELTA = Key(
    "layers",
    "betas_delta_{name}",
    "betas",
    "(n_obs, n_vars) float32 change of expression by a perturbation; CSR where most of it is 0",
)
BETAS_SHIFT = Key(
    "obs", "betas_shift_{name}", "betas", "(n_obs,) float32 norm of a cell's change by it"
)
BETAS_TRANSITIONS = Key(
    "obsp",
    "betas_transitions_{name}",
    "betas",
    "(n_obs, n_obs) CSR chance that a perturbed cell goes to another; rows sum to 1, or to 0 "
    "where the chance without a change is taken off",
)
BETAS_ARROWS = Key(
    "obsm", "betas_arrows_{name}", "betas", "(n_obs, 2) where it goes, in units of the embedding"
)
PERTURBED = Key(
    "uns",
    "perturbed_{name}",
    "betas",
    "in uns['celldyn']: what was perturbed, how, and its effect on each cell type and gene",
)

DPT = Key(
    "obs",
    "dpt_pseudotime",
    "data",
    "(n_obs,) diffusion pseudotime in [0, 1], scanpy's key; NaN where no root is reached from",
)
POTENTIAL = Key("obs", "potential", "landscape", "(n_obs,) V of the learned landscape")
ENTROPY = Key("obs", "entropy", "landscape", "(n_obs,) plasticity as LSD defines it")
PSEUDOTIME = Key("obs", "lsd_pseudotime", "landscape", "(n_obs,) pseudotime of the landscape")
PSEUDOTIME_SPREAD = Key(
    "obs", "lsd_pseudotime_spread", "landscape", "(n_obs,) sd over models of a cell's rank in time"
)
FLOW_TIME = Key(
    "obs", "lsd_flow_time", "landscape", "(n_obs,) in [0, 1], time that the flow takes to a cell"
)
CELL_STATE = Key("obsm", "X_cell_state", "landscape", "(n_obs, z_dim) mean of the cell state z")
DIFF_STATE = Key(
    "obsm", "X_diff_state", "landscape", "(n_obs, B_dim) mean of the differentiation state B"
)
VELOCITY = Key("obsm", "lsd_velocity", "landscape", "(n_obs, z_dim) -∇V at the cell state")
ARROWS = Key(
    "obsm",
    "lsd_arrows_{embedding}",
    "landscape",
    "(n_obs, 2 or 3) where the flow takes a cell, in units of an embedding",
)
TRANSITIONS = Key("obsp", "transitions", "landscape", "(n_obs, n_obs) CSR, rows sum to 1")
FATE = Key("obs", "fate", "landscape", "(n_obs,) name of the fate that a cell ends in")
FATES = Key(
    "obsm", "fate_probabilities", "landscape", "(n_obs, n_fates) chances of fates; rows sum to 1"
)
FATES_LOW = Key(
    "obsm", "fate_low", "landscape", "(n_obs, n_fates) lower end of their 95 % interval"
)
FATES_HIGH = Key(
    "obsm", "fate_high", "landscape", "(n_obs, n_fates) upper end of their 95 % interval"
)
FATE_CERTAIN = Key(
    "obs", "fate_certain", "landscape", "(n_obs,) bool, whether the data tell the fate apart"
)
FATE_AGREEMENT = Key(
    "obs", "fate_agreement", "landscape", "(n_obs,) share of models that say this fate"
)
FATE_ENTROPY = Key(
    "obs", "fate_entropy", "landscape", "(n_obs,) entropy of fate_probabilities, nats"
)
FATE_PATHS = Key(
    "obsm",
    "fate_paths",
    "landscape",
    "(n_obs, n_times) int32, nearest cell on a cell's way down, at the times of uns fates",
)
FATE_INFO = Key(
    "uns", "fates", "landscape", "in uns['celldyn']: names, times, method, notes of the fates"
)
PLASTICITY = Key(
    "obs", "plasticity", "landscape", "(n_obs,) in [0, 1], entropy of fates over its maximum"
)
PLASTICITY_LOW = Key(
    "obs", "plasticity_low", "landscape", "(n_obs,) lower end of its 95 % interval"
)
PLASTICITY_HIGH = Key(
    "obs", "plasticity_high", "landscape", "(n_obs,) upper end of its 95 % interval"
)
LANDSCAPE_INFO = Key(
    "uns", "landscape", "landscape", "in uns['celldyn']: config, history, notes, and the model"
)
LANDSCAPE_EFFECT = Key(
    "obsm",
    "landscape_effect_{name}",
    "landscape",
    "(n_obs, n_fates) change of fate chances by a perturbation; NaN in cells that were not asked",
)
LANDSCAPE_PERTURBED = Key(
    "uns",
    "landscape_perturbed_{name}",
    "landscape",
    "in uns['celldyn']: what was perturbed in the landscape, how, and its effect on each fate",
)
LANDSCAPE_SCREEN = Key(
    "uns",
    "landscape_screen_{name}",
    "landscape",
    "in uns['celldyn']: effect of each gene of a screen on each fate",
)
LATENT = Key("obsm", "X_vae", "vae", "(n_obs, n_latent) mean of the latent posterior")
UMAP = Key("obsm", "X_umap", "data", "(n_obs, 2) float32 UMAP, scanpy's key")
NORMALIZED = Key(
    "layers", "vae_normalized", "vae", "(n_obs, n_vars) native expression, no ambient"
)
VAE_SETUP = Key(
    "uns", "vae_setup", "vae", "in uns['celldyn']: JSON, which columns and matrices the VAE takes"
)
VAE_INFO = Key(
    "uns", "vae", "vae", "in uns['celldyn']: config, setup, history, shares, notes, and the model"
)
VAE_MODALITY = Key(
    "obsm", "X_vae_{modality}", "vae", "(n_obs, n_latent) latent space as one modality sees it"
)
VAE_LIBRARY = Key("obs", "vae_library", "vae", "(n_obs,) learned library size, in counts")
VAE_BACKGROUND_SHARE = Key(
    "obs", "vae_background_share", "vae", "(n_obs,) share of a cell's counts that is ambient RNA"
)
VAE_AMBIENT = Key(
    "varm", "vae_ambient", "vae", "(n_vars, n_groups) ambient background s ≥ 0 of each group"
)
VAE_DISPERSION = Key(
    "varm", "vae_dispersion", "vae", "(n_vars, n_groups) inverse dispersion θ of each group"
)
VAE_UMAP = Key("obsm", "X_umap_vae", "vae", "(n_obs, 2) float32 UMAP of X_vae")
VAE_DENOISED = Key(
    "obs",
    "vae_denoised_{gene}",
    "vae",
    "(n_obs,) float32 expression of a gene without ambient RNA",
)

ENVIRONMENT = Key(
    "obsm", "X_environment", "environment", "(n_obs, dim) float32 where cells came to rest"
)
ENVIRONMENT_VELOCITY = Key(
    "obsm", "environment_velocity", "environment", "(n_obs, dim) float32 velocity there, per s"
)
ENVIRONMENT_VIEW = Key(
    "obsm",
    "X_environment_view",
    "environment",
    "(n_obs, 2 or 3) float32 the same on its main axes, which stay the same over frames",
)
ENVIRONMENT_IMPUTED = Key(
    "layers",
    "environment_imputed",
    "environment",
    "(n_obs, n_vars) float32 what positions tell of the data set's own features",
)
ENVIRONMENT_TOLD = Key(
    "obsm",
    "environment_told_{modality}",
    "environment",
    "(n_obs, n_features) float32 what positions tell of a modality with other features",
)
ENVIRONMENT_SPREAD = Key(
    "obs",
    "environment_spread",
    "environment",
    "(n_obs,) float32 how far starts disagree: mean over features of the sd, in sd of the data",
)
ENVIRONMENT_TRAIN = Key(
    "obs", "environment_train", "environment", "(n_obs,) bool, whether a cell was trained on"
)
ENVIRONMENT_SHIFT = Key(
    "obs",
    "environment_shift_{name}",
    "environment",
    "(n_obs,) float32 how far a perturbation took a cell from where it was without, in the space",
)
ENVIRONMENT_MOVE = Key(
    "obsm",
    "environment_move_{name}",
    "environment",
    "(n_obs, dim) float32 where a perturbation took a cell, less where it was without",
)
ENVIRONMENT_DELTA = Key(
    "layers",
    "environment_delta_{name}",
    "environment",
    "(n_obs, n_vars) float32 change of what positions tell of the data set's own features",
)
ENVIRONMENT_DELTA_TOLD = Key(
    "obsm",
    "environment_delta_{modality}_{name}",
    "environment",
    "(n_obs, n_features) float32 change of what positions tell of another modality",
)
ENVIRONMENT_INFO = Key(
    "uns",
    "environment",
    "environment",
    "in uns['celldyn']: config, history, how cells came to rest, notes, and the model",
)
ENVIRONMENT_QUALITY = Key(
    "uns",
    "environment_quality",
    "environment",
    "in uns['celldyn']: how well each target is told, beside simple methods",
)
ENVIRONMENT_PERTURBED = Key(
    "uns",
    "environment_perturbed_{name}",
    "environment",
    "in uns['celldyn']: what was perturbed in the environment, how, and its effect by group",
)
ENVIRONMENT_SCREEN = Key(
    "uns",
    "environment_screen_{name}",
    "environment",
    "in uns['celldyn']: effect of each gene of a screen on each group of cells",
)

TABLE: tuple[Key, ...] = tuple(row for row in list(globals().values()) if isinstance(row, Key))
"""The table: all rows above. A system adds its rows there, and nowhere else spells a key."""
