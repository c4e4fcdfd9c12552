"""Run model.onnx with plain onnxruntime and numpy.

    python run_example.py                 a random input
    python run_example.py input.npy       an array as it is before io.json's scale and normalization
    python run_example.py image.png       an image (needs Pillow)

io.json beside this file says what goes in and what comes out.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from typing import Any

import numpy
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent


def main() -> None:
    arguments = read_arguments()
    io = json.loads((HERE / "io.json").read_text(encoding="utf-8"))
    session = open_session(HERE / io["model"], arguments.threads)
    feeds = make_feeds(io, arguments.input)
    outputs = session.run(None, feeds)
    describe(io, outputs)
    print(
        f"latency: {median_ms(session, feeds, arguments.repeat):.4f} ms (median of {arguments.repeat} "
        f"runs, {arguments.threads} thread(s))"
    )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the exported model on one input.")
    parser.add_argument("input", nargs="?", help="an .npy array or an image; a random input without it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=50)
    return parser.parse_args()


def open_session(path: pathlib.Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # a thread that spins while it waits takes the time of others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # this pass rounds a float bias, and in a float16 file computes its step in float16, where it underflows
    options.add_session_config_entry("optimization.disable_specified_optimizers", "WeightBiasQuantization")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def make_feeds(io: dict[str, Any], given: str | None) -> dict[str, Any]:
    feeds = {item["name"]: random_value(item) for item in io["inputs"]}
    if given is not None:
        first = io["inputs"][0]
        raw = numpy.load(given, allow_pickle=False) if given.endswith(".npy") else read_image(given, io)
        feeds[first["name"]] = preprocess(raw, io, first)
    return feeds


def random_value(item: dict[str, Any]) -> Any:
    generator, shape = numpy.random.default_rng(0), concrete(item["shape"])
    if numpy.issubdtype(numpy.dtype(item["dtype"]), numpy.floating):
        return generator.standard_normal(shape).astype(item["dtype"])
    return generator.integers(0, 2, shape).astype(item["dtype"])


def concrete(shape: list[Any]) -> tuple[int, ...]:
    """Free dimensions (names) become 1."""
    return tuple(1 if isinstance(size, str) else size for size in shape)


def read_image(path: str, io: dict[str, Any]) -> Any:
    """Pixels as the model's layout has them, in 0..255."""
    from PIL import Image

    prep, shape = io["preprocessing"], concrete(io["inputs"][0]["shape"])
    channels_last = prep["layout"] == "NHWC"
    channels = shape[-1] if channels_last else shape[1]
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    height, width = prep["resize"] or (shape[1:3] if channels_last else shape[2:4])
    pixels = numpy.asarray(image.resize((width, height), Image.Resampling.BILINEAR), numpy.float32)
    pixels = pixels.reshape(height, width, channels)
    if prep["color"] == "BGR":
        pixels = pixels[..., ::-1]
    return pixels if channels_last else pixels.transpose(2, 0, 1)


def preprocess(raw: Any, io: dict[str, Any], item: dict[str, Any]) -> Any:
    """(raw * scale - mean) / std for each channel, a batch dimension added where it is missing."""
    prep, shape = io["preprocessing"], item["shape"]
    value = numpy.asarray(raw)
    if value.ndim == len(shape) - 1:
        value = value[None]
    if value.ndim != len(shape) or not all(fits(*pair) for pair in zip(shape, value.shape, strict=True)):
        raise SystemExit(f"input: the shape {list(value.shape)} does not fit {shape}")
    if numpy.issubdtype(numpy.dtype(item["dtype"]), numpy.floating):
        axis = len(shape) - 1 if prep["layout"] in ("NHWC", "NC") else min(1, len(shape) - 1)
        value = (value * prep["scale"] - per_channel(prep["mean"], len(shape), axis)) / per_channel(
            prep["std"], len(shape), axis
        )
    return numpy.ascontiguousarray(value, dtype=item["dtype"])


def fits(wanted: int | str, given: int) -> bool:
    return isinstance(wanted, str) or wanted == given


def per_channel(values: list[float], dimensions: int, axis: int) -> Any:
    """One value, or one a channel, shaped to broadcast along `axis`."""
    shape = [1] * dimensions
    shape[axis] = len(values)
    return numpy.asarray(values, numpy.float32).reshape(shape)


def describe(io: dict[str, Any], outputs: list[Any]) -> None:
    for item, value in zip(io["outputs"], outputs, strict=True):
        print(f"{item['name']}: {value.dtype} {list(value.shape)}")
    first = outputs[0]
    if first.ndim != 2 or first.shape[1] < 2:
        return
    best = int(first[0].argmax())
    name = f" ({io['classes'][best]})" if best < len(io["classes"]) else ""
    print(f"top class: {best}{name}, score {first[0, best]:.4f}")


def median_ms(session: Any, feeds: dict[str, Any], repeat: int) -> float:
    times = []
    for _ in range(5):
        session.run(None, feeds)
    for _ in range(repeat):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return 1000 * float(numpy.median(times))


if __name__ == "__main__":
    main()
