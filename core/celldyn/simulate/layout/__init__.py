"""Where the cells lie: positions, domains, cell types."""

from __future__ import annotations

from celldyn.simulate.layout.celltypes import types_job
from celldyn.simulate.layout.checking import check_layout
from celldyn.simulate.layout.domains import domains_job
from celldyn.simulate.layout.outlines import domain_outlines
from celldyn.simulate.layout.place import place_job

__all__ = ["check_layout", "domain_outlines", "domains_job", "place_job", "types_job"]
