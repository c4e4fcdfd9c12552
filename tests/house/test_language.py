"""What product code does not do: print, trust data as code, check users by assert."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.imports import ROOT, inside, modules, tree

TREES = {name: tree(path) for name, path in modules().items()}
CALLS = [
    (name, node) for name, module in TREES.items() for node in ast.walk(module) if isinstance(node, ast.Call)
]


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def keywords(node: ast.Call) -> dict[str, str]:
    return {item.arg: ast.unparse(item.value) for item in node.keywords if item.arg}


@pytest.mark.parametrize(
    "name",
    [
        "eval",
        "exec",
        "compile",
        "__import__",
        "pickle.load",
        "pickle.loads",
        "os.system",
        "yaml.load",
        "yaml.unsafe_load",
    ],
)
def test_data_is_never_run(name: str):
    assert [f"{module}:{node.lineno}" for module, node in CALLS if called(node) == name] == []


def test_torch_load_takes_weights_only():
    wrong = [
        f"{module}:{node.lineno}"
        for module, node in CALLS
        if called(node) == "torch.load" and keywords(node).get("weights_only") != "True"
    ]
    assert wrong == []


def test_numpy_load_takes_no_pickle():
    wrong = [
        f"{module}:{node.lineno}"
        for module, node in CALLS
        if called(node) in ("np.load", "numpy.load")
        and keywords(node).get("allow_pickle", "False") != "False"
    ]
    assert wrong == []


def test_no_shell():
    wrong = [f"{module}:{node.lineno}" for module, node in CALLS if keywords(node).get("shell") == "True"]
    assert wrong == []


def test_only_the_command_line_prints_to_standard_output():
    wrong = [
        f"{module}:{node.lineno}"
        for module, node in CALLS
        if called(node) == "print" and "file" not in keywords(node) and not inside(module, "edgekit.cli")
    ]
    assert [place for place in wrong if place.partition(":")[0] not in SCRIPTS] == []


# files that are run as scripts, in a process or on a machine of their own: standard output is their result
SCRIPTS = {
    "edgekit.profile.fresh",
    "edgekit.report.run_example",
    "targets.fpga.finn.worker",
    "targets.fpga.hls4ml.worker",
    "targets.jetson.board.measure",
    "targets.jetson.worker",
}


def test_an_assert_is_for_ourselves_and_says_why():
    """A bare assert vanishes under -O, so it may only state what cannot be otherwise, and why."""
    wrong = []
    for name, module in TREES.items():
        lines = modules()[name].read_text(encoding="utf-8").splitlines()
        wrong += [
            f"{name}:{node.lineno}"
            for node in ast.walk(module)
            if isinstance(node, ast.Assert) and node.msg is None and "#" not in lines[node.lineno - 1]
        ]
    assert wrong == []


def test_no_bare_except():
    wrong = [
        f"{name}:{node.lineno}"
        for name, module in TREES.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert wrong == []


def test_every_module_says_what_it_is():
    assert [name for name, module in TREES.items() if not ast.get_docstring(module)] == []


def test_every_public_function_and_class_is_documented():
    wrong = [
        f"{name}.{node.name}"
        for name, module in TREES.items()
        for node in module.body
        if name not in SCRIPTS
        and isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert wrong == []


def test_no_function_is_longer_than_a_screen():
    wrong = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, module in TREES.items()
        for node in ast.walk(module)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 60
    ]
    assert wrong == []


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text
