"""Decentralized training without a network: algorithms, topologies, mixing, and the engine that runs them as rows."""
