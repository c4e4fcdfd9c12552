"""The terminal's before/after table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekit.report.rows import boards, comparison, on_board
from edgekit.report.verdict import gained, machine

if TYPE_CHECKING:
    from rich.console import Console


def print_table(report: Mapping[str, Any], console: Console) -> None:
    """The comparison, the audit in a line, and the verdict; nothing in the report is read as markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{report['model']} on {machine(report)}"), title_justify="left")
    table.add_column("")
    for heading in ("fp32", report["result"]["precision"], "change"):
        table.add_column(Text(heading), justify="right")
    for row in comparison(report):
        color = {True: "green", False: "yellow", None: ""}[row.good]
        change = Text(row.change, style=color)
        table.add_row(
            Text(row.name),
            Text(row.before),
            Text(row.after),
            change.append(f"\n{row.change_note}", style="dim") if row.change_note else change,
        )
    console.print(table)
    print_figures(report, console)
    if report["audit"] is not None:
        console.print(Text(audit_line(report["audit"]), style="dim"))
    good = gained(report) and not report["missed"]
    console.print(Text(report["verdict"], style="bold green" if good else "bold yellow"))


def print_figures(report: Mapping[str, Any], console: Console) -> None:
    """The figures of the board itself, each with how it came about; nothing where there are none."""
    rows = on_board(report)
    if rows:
        _print(console, f"on {machine(report)}", ["", "value", "how", "by"], rows)


def print_boards(reports: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Several boards side by side."""
    columns, rows = boards(reports)
    _print(console, f"{reports[0]['model']} on {len(reports)} boards", columns, rows)


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def audit_line(audit: Mapping[str, Any]) -> str:
    """How many operators the runtime computes in integers and in float, and stray Q/DQ nodes."""
    integer = audit.get("integer_compute_nodes")
    first = f"{integer} compute operators run in integers, " if integer is not None else ""
    stray = f"{audit['stray_qdq']} stray quantize/dequantize nodes"
    return f"{first}{audit['float_compute_nodes']} in float, {stray}"
