"""Frames, transports and what makes them trustworthy; no torch."""
