"""Tensor codecs: real bytes out and in; needs numpy only."""
