"""Latent State Dynamics: a potential landscape learned of a snapshot, as the seed names it."""

from __future__ import annotations

from celldyn.landscape.lsd_fates import FateMixin
from celldyn.landscape.lsd_results import ResultsMixin
from celldyn.landscape.lsd_screen import ScreenMixin
from celldyn.landscape.lsd_streams import StreamMixin
from celldyn.landscape.lsd_training import TrainingMixin
from celldyn.landscape.lsd_walks import WalkMixin


class LSD(FateMixin, ScreenMixin, StreamMixin, ResultsMixin, WalkMixin, TrainingMixin):
    """A potential landscape of cell states, learned of counts and of walks forward in time.

    Cells flow downhill, dz = −∇V(z) dt + σ dW, in a latent space of expression; see
    `celldyn.landscape.definition` for the model.

    Parameters
    ----------
    adata
        X: log-normalised expression; `layer`: raw counts of the same genes; neighbours in obsp.
        It is left as it is.
    cfg
        The tree of parameters; it is copied.
    device
        Where it is trained: "auto", "cpu", "cuda", "mps", or a torch.device.
    layer, librarysize_key, connectivities_key
        Where counts, library sizes and the neighbour graph are; see `inputs.read_inputs`.

    Attributes
    ----------
    adata, cfg, device, genes
        As given; genes are names.
    networks
        All that is learned, on the CPU; `potential` is V.
    P
        (n, n) CSR chances that walks follow, once `set_prior_transition` was called.
    walks
        (n_walks, path_len) cells, once `prepare_walks` was called.

    Raises
    ------
    DataError, MissingKeyError
        If the data set cannot serve; see `inputs.read_inputs`.
    ConfigError
        If the device is not on this machine.

    Examples
    --------
    >>> lsd = LSD(adata, LSDConfig())
    >>> lsd.set_prior_transition(prior_time_key="dpt_pseudotime")
    >>> lsd.prepare_walks()
    >>> lsd.train(num_epochs=100)
    >>> result = lsd.get_adata()
    """
