"""Data files that ship with edgekit, with their licences."""
