"""FINN's steps: those of an estimate and of a build, for chains and for networks that fork or average."""

from __future__ import annotations

from typing import Any

_RESNET = "finn.builder.custom_step_library.resnet."

STREAMLINE = {
    "chain": ("step_streamline",),
    "residual": (f"{_RESNET}step_resnet_tidy", f"{_RESNET}step_resnet_streamline"),
}
CONVERT = {
    "chain": ("step_convert_to_hw",),
    "residual": ("step_convert_to_hw", f"{_RESNET}step_resnet_convert_to_hw"),
}
FOLD = (
    "step_target_fps_parallelization",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_generate_estimate_reports",
)
HARDWARE = (
    "step_assign_ddr_weight_offsets",
    "step_generate_hardware",
    "step_create_stitched_ip",
    "step_measure_rtlsim_performance",
    "step_out_of_context_synthesis",
    "step_prepare_synthesis",
    "step_synthesize_bitfile",
    "step_make_driver",
    "step_deployment_package",
)


def kind_of(graph: Any) -> str:
    """ "residual" where an onnx.GraphProto adds two computed tensors or averages; else "chain"."""
    fixed = _fixed(graph)
    for node in graph.node:
        if node.op_type in ("GlobalAveragePool", "AveragePool", "ReduceMean", "Trunc"):
            return "residual"
        if node.op_type == "Add" and not any(name in fixed for name in node.input):
            return "residual"
    return "chain"


def estimate_steps(kind: str) -> list[str]:
    """The steps of an estimate; a residual network's second verification is a step of the worker's."""
    check = ("verify_streamlined",) if kind == "residual" else ()
    return [*_front(kind, check), *FOLD]


def build_steps(kind: str) -> list[str]:
    """The steps of a whole build with finn-plus."""
    return [*_front(kind), *FOLD[:-1], "step_transpose_decomposition", FOLD[-1], *HARDWARE]


def _front(kind: str, check: tuple[str, ...] = ()) -> list[str]:
    return [
        "step_qonnx_to_finn",
        "step_tidy_up",
        *STREAMLINE[kind],
        *check,
        *CONVERT[kind],
        "step_minimize_bit_width_initial",
        "step_create_dataflow_partition",
        "step_specialize_layers",
    ]


def _fixed(graph: Any) -> set[str]:
    """The tensors that do not depend on the network's input."""
    fixed = {item.name for item in graph.initializer} | {""}
    for node in graph.node:
        if all(name in fixed for name in node.input):
            fixed.update(node.output)
    return fixed
