"""The all-in-edge coordinator: the agents of a run meet on a broker and train, with no server that owns the model."""
