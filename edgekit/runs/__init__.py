"""Runs of decentralized training: the run file, the simulator, its lines, its summary and its report."""
