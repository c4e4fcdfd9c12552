"""A metric of one's own: a function of all outputs and targets (numpy) that gives one score a sample, or a number."""


def top2(outputs, targets):
    """1 where the target is among the two largest outputs."""
    return (outputs.argsort(axis=1)[:, -2:] == targets[:, None]).any(axis=1)
