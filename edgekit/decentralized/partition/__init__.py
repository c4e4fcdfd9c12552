"""Partitions, one a file: how the samples of a data set are divided over agents."""
