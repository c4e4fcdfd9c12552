"""The report of a compression: report.json, an HTML page, a terminal table, the output folder's helpers."""

from __future__ import annotations

from edgekit.report.folder import write_io_json, write_run_example
from edgekit.report.html import write_compare_html, write_html
from edgekit.report.report import Measured, Report, StepRecord
from edgekit.report.schema import validate_report
from edgekit.report.table import print_boards, print_figures, print_table
from edgekit.report.verdict import missed_budgets, verdict

__all__ = [
    "Measured",
    "Report",
    "StepRecord",
    "missed_budgets",
    "print_boards",
    "print_figures",
    "print_table",
    "validate_report",
    "verdict",
    "write_compare_html",
    "write_html",
    "write_io_json",
    "write_run_example",
]
