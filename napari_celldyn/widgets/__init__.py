"""One dock widget per system, and the small parts they share."""
