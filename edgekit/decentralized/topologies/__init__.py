"""Topologies, one a file."""
