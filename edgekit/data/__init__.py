"""Data sets: loaders of real data from the package, a folder or a checked download."""
