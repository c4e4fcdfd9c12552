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
    return [_row(*item) for item in checks]


def _row(name: str, check: Callable[[], str]) -> Row:
    try:
        return Row(name, True, check())
    except EdgekitError as error:
        return Row(name, False, str(error))
    except Exception as error:
        return Row(name, False, f"{type(error).__name__}: {error}".splitlines()[0])


def fail(reason: str) -> str:
    raise BadInput(reason)


def need(holds: bool, reason: str) -> None:
    if not holds:
        raise BadInput(reason)


def named(kind: type, name: str) -> str:
    need(bool(name), "the class attribute 'name' is empty")
    return f"{name}: {documented(kind)}"


def documented(thing: Any) -> str:
    need(bool((thing.__doc__ or "").strip()), "there is no docstring")
    return summary(thing)
