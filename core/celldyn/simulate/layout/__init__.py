"""Where the cells lie: positions, domains, cell types."""
