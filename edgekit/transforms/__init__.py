"""Transforms: one a file, each a frozen dataclass whose fields are the recipe step (see `base`)."""
