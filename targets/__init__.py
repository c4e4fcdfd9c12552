"""Runtimes that edgekit exports to; each is a package found by the entry-point group `edgekit.targets`."""
