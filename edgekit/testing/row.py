"""A row of a kit's table: a check, whether it holds, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from edgekit.errors import BadInput, EdgekitError
from edgekit.settings import summary


class Row(NamedTuple):
    """One check of a kit."""

    check: str
    ok: bool
    detail: str


Check = tuple[str, Callable[[], str]]


def run_checks(checks: list[Check]) -> list[Row]:
    """Run each check; what it raises becomes its row's detail."""
    return [_row(*item) for item in checks]


def _row(name: str, check: Callable[[], str]) -> Row:
    try:
        return Row(name, True, check())
    except EdgekitError as error:
        return Row(name, False, str(error))
    except Exception as error:
        return Row(name, False, f"{type(error).__name__}: {error}".splitlines()[0])


def fail(reason: str) -> str:
    """The check does not hold."""
    raise BadInput(reason)


def need(holds: bool, reason: str) -> None:
    """The check does not hold unless `holds`."""
    if not holds:
        raise BadInput(reason)


def named(kind: type, name: str) -> str:
    """A name, and a docstring."""
    need(bool(name), "the class attribute 'name' is empty")
    return f"{name}: {documented(kind)}"


def documented(thing: Any) -> str:
    """The first sentence of a docstring; the check does not hold without one."""
    need(bool((thing.__doc__ or "").strip()), "there is no docstring")
    return summary(thing)
