#!/usr/bin/env python3
"""Build, time and check the engines of this folder on a Jetson board, with the board's own TensorRT.

    python3 board/measure.py                       in the folder that edgekit wrote; writes measured.json
    python3 board/measure.py --precisions int8     fp16 is measured beside int8 all the same
    python3 board/measure.py --trtexec             by the program trtexec, without Python's tensorrt
    python3 board/measure.py --dla 0               on a core of the deep learning accelerator, the rest on the GPU

Needs Python 3.8 and the module `tensorrt` or the program `trtexec`, both of which JetPack has; no numpy, no edgekit.
The folder has model.onnx (int8 Q/DQ pairs), model_float.onnx, for TensorRT 11 also model_fp16.onnx (its types are
the file's own), io.json (names, shapes, dtypes) and golden vectors: golden.npz with an array for each input and
output name, or golden/input_0.bin ... output_0.bin in the order of io.json, little-endian; samples lie along the
first dimension. Engines are kept in engines/ and are built anew when the model, TensorRT, the GPU or the system
changes. Nothing on the board is changed: no clocks, no power mode.
"""

# ruff: noqa: B905  zip(strict=) came with Python 3.10
from __future__ import annotations

import argparse
import ast
import collections
import ctypes
import ctypes.util
import gc
import glob
import hashlib
import importlib
import json
import math
import mmap
import os
import platform
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = 1
# CUDA names every Orin alike, so the board's model counts too
BOARD_KEYS = ("model", "gpu", "compute_capability", "l4t")
PRECISIONS = ("fp32", "fp16", "int8")
LEAST_RUNS = 10
PROFILED_RUNS = 50
GOLDEN_PROCESSES = 8  # trtexec starts anew for every golden batch
OLD_WORKSPACE = 512  # MiB, where TensorRT's own default is none (8.3 and before)
LARGEST_GOLDEN = 2**30
# codes of the module struct, by the names of io.json, of numpy's files and of TensorRT
_NAMES = "float32 float16 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool"
CODES = dict(zip(_NAMES.split(), "fedbBhHiIqQ?"))
NUMPY_CODES = dict(
    zip(["f4", "f2", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"], "fedbBhHiIqQ?")
)
TENSORRT_CODES = dict(zip(["FLOAT", "HALF", "INT8", "UINT8", "INT32", "INT64", "BOOL"], "febBiq?"))
ONNX_TYPES = dict(
    zip(
        (1, 2, 3, 6, 7, 9, 10, 11),
        ["float32", "uint8", "int8", "int32", "int64", "bool", "float16", "float64"],
    )
)
PRECISION_FLAGS = {"int8": ("INT8", "FP16"), "fp16": ("FP16",), "fp32": ()}


class Stop(Exception):
    """What cannot go on, in one line: what, where, why, do this."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))


def say(text: str) -> None:
    """A line on standard output, at once."""
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------------------- files


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then move it there: a kill leaves the old file or none."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Stop(f"{path}: it cannot be written: {error.strerror or error}. Free space there.") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda temporary: write_buffer(temporary, text.encode()))


def write_buffer(path: Path, data: Any) -> None:
    """Write bytes, or what TensorRT hands out as a buffer."""
    with open(path, "wb") as file:
        file.write(data)


def read_json(path: Path) -> Any:
    """A JSON file's content, None where there is none or it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def has_pairs(path: Path) -> bool:
    """Whether an ONNX file has Q/DQ pairs, by the operator's name in its bytes."""
    if path.stat().st_size == 0:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b"QuantizeLinear") >= 0


def has_halves(path: Path) -> bool:
    """Whether a constant of an ONNX file is in float16; not where the file is none."""
    try:
        parts = list(fields(inner(path.read_bytes(), 7)))
        return any(field == 5 and ONNX_TYPES.get(number(part, 2)) == "float16" for field, part in parts)
    except (LookupError, ValueError, TypeError):
        return False


# --------------------------------------------------------------------------------------------------------- models


class Plan(NamedTuple):
    """One engine to be: its precision, its ONNX file and that file's hash."""

    precision: str
    onnx: Path
    sha256: str


def plans(folder: Path, wanted: Sequence[str], typed: bool, reasons: dict[str, str]) -> list[Plan]:
    """What to build of the folder's models; `reasons` says why a precision is left out.

    `typed`: TensorRT takes precision from the file alone (11), so fp16 needs a file in fp16.
    """
    names = [name for name in PRECISIONS if name in wanted or (name == "fp16" and "int8" in wanted)]
    found: dict[str, Path] = {}
    for precision in names:
        label, path = model_of(folder, precision, typed, reasons)
        if path is not None:
            found[label] = path
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise Stop(f"{folder}: there is no model to build ({why}). Copy the whole folder that edgekit wrote.")
    return [Plan(name, found[name], sha256_of(found[name])) for name in PRECISIONS if name in found]


def model_of(folder: Path, precision: str, typed: bool, reasons: dict[str, str]) -> tuple[str, Path | None]:
    """The ONNX file of a precision, and the precision that it really gives."""
    if precision == "int8":
        return "int8", quantized_model(folder, reasons)
    halves = folder / "model_fp16.onnx"
    if precision == "fp16" and typed and halves.is_file():
        return "fp16", halves
    path = float_model(folder)
    if path is None:
        reasons[precision] = "neither model_float.onnx nor a model.onnx without Q/DQ pairs is in the folder"
        return precision, None
    if precision == "fp16" and typed:
        reasons["fp16"] = (
            "this TensorRT takes precision from the file, and model_fp16.onnx is not in the folder; "
            f"{path.name} was built as it is, in fp32"
        )
        return "fp32", path
    return precision, path


def quantized_model(folder: Path, reasons: dict[str, str]) -> Path | None:
    """model.onnx where it has Q/DQ pairs."""
    path = folder / "model.onnx"
    if not path.is_file():
        reasons["int8"] = "model.onnx is not in the folder"
    elif not has_pairs(path):
        reasons["int8"] = "model.onnx has no Q/DQ pairs"
    else:
        return path
    return None


def float_model(folder: Path) -> Path | None:
    """model_float.onnx, or model.onnx where it has no Q/DQ pairs."""
    plain, main = folder / "model_float.onnx", folder / "model.onnx"
    if plain.is_file():
        return plain
    return main if main.is_file() and not has_pairs(main) else None


# --------------------------------------------------------------------------------------------------- golden vectors


class Array(NamedTuple):
    """Values as raw little-endian bytes: the struct code of one, the shape."""

    code: str
    shape: tuple[int, ...]
    data: bytes

    def rows(self, start: int, count: int) -> list[Any]:
        """`count` samples from `start`, flat; past the end the last one again."""
        size = struct.calcsize("<" + self.code) * math.prod(self.shape[1:])
        last = self.shape[0] - 1
        parts = [
            self.data[min(i, last) * size : (min(i, last) + 1) * size] for i in range(start, start + count)
        ]
        return unpack(self.code, b"".join(parts))


def unpack(code: str, data: bytes) -> list[Any]:
    """Bytes as numbers."""
    return list(struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data))


def pack(code: str, values: Iterable[Any]) -> bytes:
    """Numbers as bytes; those out of the type's range become its ends."""
    low, high = bounds(code)
    kind: Callable[[Any], Any] = float if code in "fed" else bool if code == "?" else int
    listed = [kind(min(max(value, low), high)) for value in values]
    return struct.pack(f"<{len(listed)}{code}", *listed)


def bounds(code: str) -> tuple[Any, Any]:
    """The smallest and the largest number of a type."""
    if code in "fed":
        high = {"e": 65504.0, "f": 3.4028234663852886e38, "d": math.inf}[code]
        return -high, high
    bits = 8 * struct.calcsize("<" + code)
    if code == "?" or code.isupper():
        return 0, 1 if code == "?" else 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def golden_vectors(folder: Path, onnx: Path) -> tuple[dict[str, Array], str]:
    """The golden vectors by tensor name, or none and why."""
    try:
        if (folder / "golden.npz").is_file():
            return same_count(read_npz(folder / "golden.npz")), ""
        if (folder / "golden").is_dir():
            return same_count(
                read_bins(folder / "golden", read_json(folder / "io.json") or onnx_io(onnx))
            ), ""
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        SyntaxError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        return {}, f"the golden vectors cannot be read: {type(error).__name__}: {error}"
    return {}, "neither golden.npz nor golden/ is in the folder"


def same_count(arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays, where all hold as many samples."""
    counts = sorted({array.shape[0] if array.shape else 0 for array in arrays.values()})
    if len(counts) != 1 or counts[0] < 1:
        raise ValueError(f"the arrays hold {counts or 'no'} samples along their first dimension")
    return arrays


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file, without numpy."""
    with zipfile.ZipFile(path) as archive:
        if sum(item.file_size for item in archive.infolist()) > LARGEST_GOLDEN:
            raise ValueError("they take more than 1 GiB")
        return {re.sub(r"\.npy$", "", name): read_npy(archive.read(name)) for name in archive.namelist()}


def read_npy(data: bytes) -> Array:
    """One array in numpy's .npy format (versions 1 to 3)."""
    if data[:6] != b"\x93NUMPY":
        raise ValueError("an array is not in numpy's format")
    start = 10 if data[6] == 1 else 12
    (size,) = struct.unpack("<H" if data[6] == 1 else "<I", data[8:start])
    header = ast.literal_eval(data[start : start + size].decode("latin-1"))
    shape, kind = tuple(int(axis) for axis in header["shape"]), str(header["descr"])
    if kind[0] == ">" or kind[1:] not in NUMPY_CODES or (header["fortran_order"] and len(shape) > 1):
        raise ValueError(f"an array is of the kind {kind}, not little-endian numbers in C order")
    return whole(Array(NUMPY_CODES[kind[1:]], shape, data[start + size :]))


def read_bins(folder: Path, io: Any) -> dict[str, Array]:
    """golden/input_0.bin ... with the names, dtypes and shapes of io.json."""
    found = {}
    for side in ("input", "output"):
        for index, item in enumerate(io[side + "s"]):
            code, rest = CODES[item["dtype"]], [int(axis) for axis in item["shape"][1:]]
            data = (folder / f"{side}_{index}.bin").read_bytes()
            count = len(data) // (struct.calcsize("<" + code) * math.prod(rest))
            found[str(item["name"])] = whole(Array(code, (count, *rest), data))
    return found


def whole(array: Array) -> Array:
    """The array, where its bytes are as many as its shape says."""
    wanted = struct.calcsize("<" + array.code) * math.prod(array.shape)
    if len(array.data) != wanted:
        raise ValueError(
            f"an array has {len(array.data)} bytes, its shape {list(array.shape)} needs {wanted}"
        )
    return array


class Difference:
    """How far results are from the golden vectors: the largest difference, and how often the top class agrees."""

    def __init__(self) -> None:
        self.largest, self.samples, self.agree, self.ranked = 0.0, 0, 0, 0
        self.finite = True

    def add(self, expected: list[Any], found: list[Any], samples: int) -> None:
        """One output of some samples, flat; ValueError where there are more or fewer values than expected."""
        if len(expected) != len(found):
            raise ValueError(f"the golden vectors have {len(expected)} values for an output of {len(found)}")
        for want, got in zip(expected, found):
            if not math.isfinite(got):
                self.finite = False
            elif math.isfinite(want):
                self.largest = max(self.largest, abs(float(want) - float(got)))
        width = len(expected) // samples
        for index in range(samples if width > 1 else 0):
            part = slice(index * width, (index + 1) * width)
            self.ranked += 1
            self.agree += top(expected[part]) == top(found[part])

    def to_json(self) -> dict[str, Any]:
        """The `golden` field: max_abs is None where a result is not finite; `top1` is a share."""
        return {
            "max_abs": self.largest if self.finite else None,
            "n": self.samples,
            "top1": self.agree / self.ranked if self.ranked else None,
            "finite": self.finite,
        }


def top(values: list[Any]) -> int:
    """The place of the largest value."""
    return max(range(len(values)), key=values.__getitem__)


# ---------------------------------------------------------------------------------------------------------- board


def read_text(path: Path) -> str:
    """A small text file of the system, empty where it cannot be read."""
    try:
        return path.read_bytes()[:65536].decode("utf-8", "replace").replace("\0", "").strip()
    except OSError:
        return ""


def l4t_of(root: Path) -> str | None:
    """The L4T release in /etc/nv_tegra_release, as 36.3.0."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", read_text(root / "etc/nv_tegra_release"))
    return f"{found[1]}.{found[2]}" if found else None


def command_output(*command: str, seconds: float = 10) -> tuple[str, str]:
    """What a command prints, and why nothing could be had of it."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"{type(error).__name__}: {error}"
    text = done.stdout.decode("utf-8", "replace").strip()
    return (
        (text, "") if done.returncode == 0 else ("", (text.splitlines() or [f"exit {done.returncode}"])[-1])
    )


def board_facts(root: Path) -> dict[str, Any]:
    """Model, L4T and JetPack, as the system names them."""
    jetpack, _ = command_output("dpkg-query", "--showformat=${Version}", "--show", "nvidia-jetpack")
    return {
        "model": read_text(root / "proc/device-tree/model") or None,
        "l4t": l4t_of(root),
        "jetpack": jetpack or None,
    }


def board_state(root: Path) -> dict[str, Any]:
    """Power mode, clocks (MHz) and temperatures (degrees C) now; `not_read` says why one is missing."""
    not_read: dict[str, str] = {}
    mode, why = command_output("nvpmodel", "-q")
    found = re.search(r"NV Power Mode: *(\S+)", mode)
    if not found:
        not_read["power_mode"] = why or "nvpmodel -q names none"
    clocks, why = command_output("jetson_clocks", "--show")
    if not clocks:
        not_read["jetson_clocks"] = why or "it prints nothing"
    return {
        "power_mode": found[1] if found else None,
        "jetson_clocks": clocks.splitlines()[:80] or None,
        "clocks_mhz": clocks_mhz(root),
        "temperatures_c": temperatures(root),
        "not_read": not_read,
    }


def clocks_mhz(root: Path) -> dict[str, float]:
    """Clocks of the CPU cores and of the GPU from /sys."""
    found = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")):
        found[path.parts[-3]] = number_in(path, 1e3)
    for path in sorted(root.glob("sys/class/devfreq/*/cur_freq")):
        if re.search(r"gpu|gv11b|ga10b|gp10b|gb10b", path.parent.name):
            found["gpu"] = number_in(path, 1e6)
    return {name: value for name, value in found.items() if value is not None}


def temperatures(root: Path) -> dict[str, float]:
    """Temperatures of the thermal zones."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*"))
    found = {read_text(zone / "type") or zone.name: number_in(zone / "temp", 1e3) for zone in zones}
    return {name: value for name, value in found.items() if value is not None}


def number_in(path: Path, unit: float) -> Any:
    """The number in a file, in units; None where there is none."""
    try:
        return round(float(read_text(path)) / unit, 3)
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------------------- CUDA


_INT, _SIZE, _POINTER = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
_TO_INT, _TO_SIZE, _TO_POINTER = ctypes.POINTER(_INT), ctypes.POINTER(_SIZE), ctypes.POINTER(_POINTER)
CUDA_FUNCTIONS = {
    "cudaGetDeviceCount": [_TO_INT],
    "cudaDeviceGetAttribute": [_TO_INT, _INT, _INT],
    "cudaMemGetInfo": [_TO_SIZE, _TO_SIZE],
    "cudaRuntimeGetVersion": [_TO_INT],
    "cudaDriverGetVersion": [_TO_INT],
    "cudaMalloc": [_TO_POINTER, _SIZE],
    "cudaFree": [_POINTER],
    "cudaMallocHost": [_TO_POINTER, _SIZE],
    "cudaFreeHost": [_POINTER],
    "cudaMemcpyAsync": [_POINTER, _POINTER, _SIZE, _INT, _POINTER],
    "cudaStreamCreate": [_TO_POINTER],
    "cudaStreamSynchronize": [_POINTER],
    "cudaStreamDestroy": [_POINTER],
    "cudaEventCreate": [_TO_POINTER],
    "cudaEventRecord": [_POINTER, _POINTER],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), _POINTER, _POINTER],
    "cudaEventDestroy": [_POINTER],
}


class Cuda:
    """The few functions of libcudart that a measurement needs, by ctypes."""

    def __init__(self, library: Any) -> None:
        self.library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        library.cudaGetErrorString.argtypes = [ctypes.c_int]
        for name, types in CUDA_FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_int, types
        if self.number("cudaGetDeviceCount") < 1:
            raise Stop("CUDA: no GPU is visible. In a container, start it with --runtime nvidia.")

    def call(self, name: str, *values: Any) -> None:
        """Call a function; Stop with CUDA's own reason where it fails."""
        code = getattr(self.library, name)(*values)
        if code:
            raise Stop(cuda_reason(name, code, self.library.cudaGetErrorString(code).decode()))

    def number(self, name: str, *values: Any) -> int:
        """A function whose first argument takes an int."""
        found = ctypes.c_int()
        self.call(name, ctypes.byref(found), *values)
        return found.value

    def pointer(self, name: str, *values: Any) -> int:
        """A function whose first argument takes a pointer."""
        found = ctypes.c_void_p()
        self.call(name, ctypes.byref(found), *values)
        return found.value or 0

    def elapsed(self, start: int, end: int) -> float:
        """Milliseconds between two events."""
        found = ctypes.c_float()
        self.call("cudaEventElapsedTime", ctypes.byref(found), start, end)
        return found.value

    def facts(self) -> dict[str, Any]:
        """The GPU's name, compute capability and memory."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        major, minor = (self.number("cudaDeviceGetAttribute", attribute, 0) for attribute in (75, 76))
        return {"gpu": self.name(), "compute_capability": f"{major}.{minor}", "memory_bytes": total.value}

    def name(self) -> str:
        """The GPU's name: the first 256 bytes of cudaDeviceProp, whatever its version."""
        properties = ctypes.create_string_buffer(16384)
        for name in ("cudaGetDeviceProperties_v2", "cudaGetDeviceProperties"):  # CUDA 12 has both
            function = getattr(self.library, name, None)
            if function is not None and function(properties, ctypes.c_int(0)) == 0:
                return properties.raw[:256].split(b"\0")[0].decode("utf-8", "replace")
        return "unknown"

    def versions(self) -> dict[str, str]:
        """CUDA's runtime and driver."""
        runtime, driver = self.number("cudaRuntimeGetVersion"), self.number("cudaDriverGetVersion")
        return {"cuda_runtime": cuda_version(runtime), "cuda_driver": cuda_version(driver)}


def cuda_version(number: int) -> str:
    """12060 -> 12.6."""
    return f"{number // 1000}.{number % 1000 // 10}"


def cuda_reason(name: str, code: int, text: str) -> str:
    """What a CUDA error means for the user."""
    advice = {
        2: "Close other programs, add swap, or use a smaller --batch.",
        35: "There is no driver, or one older than this libcudart: run on the board, with JetPack's own.",
        100: "Check that this user may use the GPU: group video, in a container --runtime nvidia.",
    }
    return f"CUDA: {name} failed: {text} ({code}). {advice.get(code, 'Reboot the board if it stays so.')}"


def load_cuda() -> Cuda:
    """libcudart from EDGEKIT_CUDART, the loader's path or CUDA's usual folders."""
    given = os.environ.get("EDGEKIT_CUDART")
    names = [given] if given else list(cuda_names())
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        return Cuda(library)
    raise Stop(
        f"CUDA: {given or 'libcudart.so'} cannot be loaded. Install JetPack's cuda-cudart, or name the file in "
        "EDGEKIT_CUDART."
    )


def cuda_names() -> Iterator[str]:
    """Where libcudart may be."""
    for version in ("", ".13", ".12", ".11.0", ".10.2"):
        yield f"libcudart.so{version}"
    found = ctypes.util.find_library("cudart")
    if found:
        yield found
    for pattern in ("/usr/local/cuda/lib64/libcudart.so*", "/usr/local/cuda*/targets/*/lib/libcudart.so*"):
        yield from sorted(glob.glob(pattern))


# ------------------------------------------------------------------------------------------------------ ONNX files


def read_onnx_io(path: Path) -> dict[str, list[dict[str, Any]]]:
    """`onnx_io`; Stop where the file is no ONNX file."""
    try:
        return onnx_io(path)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise Stop(f"{path}: it is no ONNX file, or is cut off. Copy the folder again.") from error


def onnx_io(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Names, dtypes and shapes of an ONNX file's inputs and outputs, from its bytes; a free dimension is a word."""
    graph = next((part for field, part in fields(path.read_bytes()) if field == 7), b"")
    constants: set[str] = set()
    found: dict[str, list[Any]] = {"inputs": [], "outputs": []}
    for field, part in fields(graph):
        if field == 5:
            constants.add(word(part, 8))
        elif field in (11, 12):
            name, kind = word(part, 1), inner(part, 2, 1)
            axes = [axis for field, axis in fields(inner(kind, 2)) if field == 1]
            item = {
                "name": name,
                "dtype": ONNX_TYPES.get(number(kind, 1), "?"),
                "shape": [number(a, 1) or "N" for a in axes],
            }
            found["inputs" if field == 11 else "outputs"].append(item)
    found["inputs"] = [item for item in found["inputs"] if item["name"] not in constants]
    return found


def fields(data: Any) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protobuf message: an int, or the bytes of a string or a message."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        if key & 7 == 0:
            value, place = varint(data, place)
            yield key >> 3, value
            continue
        size, place = varint(data, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
        yield key >> 3, data[place : place + size]
        place += size


def varint(data: Any, place: int) -> tuple[int, int]:
    """A number and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def inner(data: Any, *path: int) -> Any:
    """The message at a path of field numbers, empty where there is none."""
    for wanted in path:
        data = next((value for field, value in fields(data) if field == wanted), b"")
    return data


def number(data: Any, wanted: int) -> int:
    """An int field, 0 where there is none."""
    return next((value for field, value in fields(data) if field == wanted and isinstance(value, int)), 0)


def word(data: Any, wanted: int) -> str:
    """A string field."""
    return bytes(inner(data, wanted)).decode("utf-8", "replace")


# --------------------------------------------------------------------------------------------------------- engines


class Lacking(Stop):
    """What this board cannot do, which is no failure."""


class Unloadable(Stop):
    """An engine that this TensorRT on this board does not take."""


class Store:
    """Engines kept beside the model, each with the key that it was built for."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder, self.prefix = folder / "engines", prefix
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise Stop(
                f"{self.folder}: it cannot be made: {error.strerror}. Make {folder} writable."
            ) from error
        self.sweep()

    def sweep(self) -> None:
        """Remove what a killed build left behind."""
        for path in self.folder.glob(".tmp-*"):
            owner = re.match(r"\.tmp-(\d+)-", path.name)
            if owner and not alive(int(owner[1])):
                path.unlink()

    def engine(self, precision: str) -> Path:
        """Where an engine lies."""
        return self.folder / f"{self.prefix}{precision}.engine"

    def card(self, precision: str) -> Path:
        """Where it is written what an engine was built for."""
        return self.folder / f"{self.prefix}{precision}.json"

    def timing(self, key: Mapping[str, Any]) -> Path:
        """The timing cache of this TensorRT, GPU and system; it serves every model."""
        facts = json.dumps([key[name] for name in ("tensorrt", *BOARD_KEYS)])
        return self.folder / f"timing-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.cache"

    def cached(self, precision: str, key: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The card of an engine of this key, or why there is none."""
        engine, card = self.engine(precision), read_json(self.card(precision))
        if not engine.is_file():
            return None, ""
        if not is_card(card):
            return None, "the engine that was there has no key"
        changed = [
            f"{name} was {short(card['key'].get(name))}, is {short(value)}"
            for name, value in key.items()
            if card["key"].get(name) != value
        ]
        if not changed and card.get("engine_sha256") != sha256_of(engine):
            return None, "the engine's bytes are not those that were built"
        return (None, "; ".join(changed)) if changed else (card, "")

    def build(
        self, tool: Any, plan: Plan, key: dict[str, Any], options: argparse.Namespace
    ) -> dict[str, Any]:
        """Build an engine and its card; a kill on the way leaves what was there before."""
        engine, timing, start = self.engine(plan.precision), self.timing(key), time.monotonic()
        told: dict[str, Any] = {}
        write_whole(engine, lambda path: told.update(log=tool.build(plan, path, timing, options)))
        card = {
            "key": key,
            "engine_sha256": sha256_of(engine),
            "build_seconds": round(time.monotonic() - start, 3),
            "built_with": tool.name,
            "dla": None if options.dla is None else dla_layers(told["log"], options.dla),
        }
        write_json(self.card(plan.precision), card)
        return card


def is_card(card: Any) -> bool:
    """Whether a file beside an engine says what it was built for."""
    whole = isinstance(card, dict) and isinstance(card.get("key"), dict)
    return whole and isinstance(card.get("build_seconds"), (int, float))


def alive(process: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def short(value: Any) -> str:
    """A value as a word; a hash by its first digits."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


# ------------------------------------------------------------------------------------------------ what went wrong

MEMORY = re.compile(
    r"out of memory|outofmemory|bad_alloc|insufficient memory|MemoryAllocation", re.IGNORECASE
)
FOREIGN = re.compile(
    r"incompatible device|different (GPU|device|platform)|not compatible with this version|expecting (compute|library)"
    r"|version tag does not match|serialization assertion|please rebuild",
    re.IGNORECASE,
)


def why_failed(where: str, log: str, *, what: str) -> Stop:
    """The error of a failed step, from what TensorRT logged."""
    errors = [line.strip() for line in log.splitlines() if line.strip()]
    last = errors[-1] if errors else "no reason was logged"
    if MEMORY.search(log):
        return Stop(
            f"{where}: {what}: out of memory. Close other programs, add swap, or give a smaller --workspace or --batch."
        )
    if FOREIGN.search(log):
        line = next(line for line in errors if FOREIGN.search(line))
        return Unloadable(
            f"{where}: {what}: it is an engine of another board or another TensorRT ({line}). Delete engines/ and "
            "run again."
        )
    return Stop(f"{where}: {what}: {last}. Run with TensorRT's own trtexec --verbose for more.")


# ------------------------------------------------------------------------------- the deep learning accelerator (DLA)

PLACED = re.compile(r"\[(Dla|Gpu)Layer\] *(.+)")


def dla_layers(log: str, core: int) -> dict[str, Any]:
    """The `dla` field: how many pieces of the network run on the core, and the layers that fell back to the GPU."""
    found = PLACED.findall(log)
    on_gpu = [name.strip() for place, name in found if place == "Gpu"]
    return {"core": core, "on_dla": len(found) - len(on_gpu), "fell_back": on_gpu}


def check_dla(core: int, count: int) -> None:
    """Stop where there is no such core."""
    if core < count:
        return
    has = f"has the DLA cores 0 to {count - 1}" if count else "has no DLA, or this TensorRT does not use it"
    raise Stop(
        f"--dla {core}: this board {has}. Run {'with one of them' if count else 'without --dla: on the GPU'}."
    )


def check_dla_precision(precision: str) -> None:
    """Lacking where DLA does not compute in it."""
    if precision == "fp32":
        raise Lacking("DLA computes in fp16 and int8 alone")


# ------------------------------------------------------------------------------------------------------ statistics


def timed(
    once: Callable[[], tuple[float, float, float]], seconds: float, warmup: float
) -> tuple[list[Any], float]:
    """(h2d, compute, d2h) milliseconds a run for `seconds`, 10 runs at least, after a warm-up; and the wall time."""
    end = time.monotonic() + warmup / 1e3
    once()
    while time.monotonic() < end:
        once()
    gc.disable()
    rows: list[Any] = []
    start = time.monotonic()
    while len(rows) < LEAST_RUNS or time.monotonic() - start < seconds:
        rows.append(once())
    gc.enable()
    return rows, time.monotonic() - start


def figures(rows: Sequence[tuple[float, float, float]], wall: float | None, batch: int) -> dict[str, Any]:
    """The latency fields of rows (h2d, compute, d2h) in milliseconds; latency is their sum, as trtexec has it."""
    return {
        "latency_ms": spread([sum(row) for row in rows]),
        "h2d_ms": spread([row[0] for row in rows]),
        "compute_ms": spread([row[1] for row in rows]),
        "d2h_ms": spread([row[2] for row in rows]),
        "throughput": round(batch * len(rows) / wall, 3) if wall else None,
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The shortest, the mean, percentiles (linear between neighbours), the longest."""
    ordered = sorted(values)
    found = {f"p{share}": round(percentile(ordered, share), 6) for share in (50, 90, 95, 99)}
    mean = round(math.fsum(ordered) / len(ordered), 6)
    return {
        "min": round(ordered[0], 6),
        "mean": mean,
        **found,
        "max": round(ordered[-1], 6),
        "n": len(ordered),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` percent lie."""
    place = share / 100 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


# ---------------------------------------------------------------------------------------------------------- layers

TYPES = (
    ("int8", "int8"),
    ("fp8", "fp8"),
    ("int4", "int4"),
    ("bf16|bfloat16", "bf16"),
    ("half|fp16", "fp16"),
    ("float|fp32", "fp32"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("bool", "bool"),
    ("uint8", "uint8"),
)


def layer_rows(information: str, times: Mapping[str, float]) -> list[dict[str, Any]]:
    """The layers of an engine from the inspector's JSON, with the milliseconds that the profiler gave them."""
    try:
        layers = loads(information).get("Layers", [])
    except (ValueError, AttributeError):
        layers = []
    rows = [layer_row(layer) for layer in layers]
    named = {row["name"] for row in rows}
    rows += [
        {"name": name, "type": None, "precision": None, "nodes": []} for name in times if name not in named
    ]
    for row in rows:
        row["ms"] = round(times[row["name"]], 6) if row["name"] in times else None
    return rows


def layer_row(layer: Any) -> dict[str, Any]:
    """One layer; TensorRT gives its name alone where the engine was built without details."""
    if not isinstance(layer, dict):
        return {"name": str(layer), "type": None, "precision": None, "nodes": []}
    nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", str(layer.get("Metadata", "")))
    return {
        "name": str(layer.get("Name", "")),
        "type": str(layer["LayerType"]) if "LayerType" in layer else None,
        "precision": precision_of(layer),
        "nodes": nodes,
    }


def precision_of(layer: Mapping[str, Any]) -> str | None:
    """What a layer computes in: the type of its weights, else of its first input, else of its first output."""
    weights = layer.get("Weights")
    texts = [str(weights.get("Type"))] if isinstance(weights, dict) else []
    for side in ("Inputs", "Outputs"):
        for tensor in layer.get(side) or []:
            if isinstance(tensor, dict):
                keys = ("Datatype", "DataType", "Format/Datatype", "Format")
                texts.append(str(next((tensor[key] for key in keys if key in tensor), "")))
    for text in texts:
        for pattern, name in TYPES:
            if re.search(rf"\b({pattern})\b", text, re.IGNORECASE):
                return name
    return None


def loads(text: str) -> Any:
    """JSON as NVIDIA's tools write it: control characters in names, nan and inf as numbers."""
    words = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    fixed = re.sub(r'"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf)\b', lambda found: words.get(found[0], found[0]), text)
    return json.loads(fixed, strict=False)


# --------------------------------------------------------------------------------------- by Python's tensorrt module


def make_log(trt: Any) -> Any:
    """A logger that keeps errors, and where layers were placed; TensorRT takes one for the whole process."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: collections.deque[str] = collections.deque(maxlen=200)
            self.placed: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if str(severity).split(".")[-1] in ("INTERNAL_ERROR", "ERROR"):
                self.lines.append(message)
            elif PLACED.search(message):
                self.placed.append(message)

        def text(self) -> str:
            return "\n".join(self.lines)

    return Log()


def make_profiler(trt: Any) -> Any:
    """A profiler that adds up milliseconds by layer."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.total: dict[str, float] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.total[name] = self.total.get(name, 0.0) + ms

    return Profiler()


def parse(trt: Any, log: Any, builder: Any, path: Path) -> tuple[Any, Any]:
    """The network of an ONNX file, and the parser, which owns its weights; Stop with the parser's reason and node."""
    kinds = trt.NetworkDefinitionCreationFlag
    wanted = ["EXPLICIT_BATCH"] if hasattr(trt.BuilderFlag, "FP16") else ["STRONGLY_TYPED"]
    flags = sum(1 << int(getattr(kinds, name)) for name in wanted if hasattr(kinds, name))
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        raise Stop(why_refused(trt, parser, log, path))
    return network, parser


def why_refused(trt: Any, parser: Any, log: Any, path: Path) -> str:
    """What the parser says of the first node that it does not take."""
    advice = "Export for this board's TensorRT, or keep that layer out of the quantization."
    if not parser.num_errors:
        return (
            f"{path}: TensorRT {trt.__version__} cannot read it: {log.text() or 'no reason given'}. {advice}"
        )
    error = parser.get_error(0)
    number = error.node()
    name = error.node_name() if hasattr(error, "node_name") else ""
    kind = f" ({error.node_operator()})" if hasattr(error, "node_operator") else ""
    reason = f"{str(error.code()).split('.')[-1]}: {error.desc()}"
    return f"{path}: TensorRT {trt.__version__} refuses node {number} '{name}'{kind}: {reason}. {advice}"


def configure(trt: Any, builder: Any, network: Any, precision: str, options: argparse.Namespace) -> Any:
    """The builder's settings: each flag where this TensorRT still has it (11 reads precision from the file)."""
    config = builder.create_builder_config()
    for flag in PRECISION_FLAGS[precision]:
        if hasattr(trt.BuilderFlag, flag):
            config.set_flag(getattr(trt.BuilderFlag, flag))
    if hasattr(trt, "ProfilingVerbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.dla is not None:
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, options.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if not hasattr(config, "set_memory_pool_limit"):
        config.max_workspace_size = (options.workspace or OLD_WORKSPACE) << 20
    elif options.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    free = [tensor for tensor in inputs_of(network) if -1 in tuple(tensor.shape)]
    if free:
        profile = builder.create_optimization_profile()
        for tensor in free:
            shape = with_batch(tensor.name, tuple(tensor.shape), options.batch)
            profile.set_shape(tensor.name, shape, shape, shape)
        config.add_optimization_profile(profile)
    return config


def inputs_of(network: Any) -> list[Any]:
    """The input tensors of a network."""
    return [network.get_input(index) for index in range(network.num_inputs)]


def with_batch(name: str, shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """A shape with the batch in its free first dimension; Stop where another dimension is free."""
    if -1 in shape[1:]:
        raise Stop(
            f"input '{name}': the shape {list(shape)} has a free dimension after the first. Export it fixed."
        )
    return tuple(batch if axis == -1 else int(axis) for axis in shape)


def use_timing_cache(config: Any, path: Path) -> None:
    """Let the builder reuse tactics that were timed on this board; one that does not fit is begun anew."""
    if hasattr(config, "create_timing_cache"):
        data = path.read_bytes() if path.is_file() else b""
        cache = config.create_timing_cache(data)
        if cache is None or not config.set_timing_cache(cache, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timing_cache(config: Any, path: Path) -> None:
    """Write back what the builder timed."""
    cache = config.get_timing_cache() if hasattr(config, "get_timing_cache") else None
    if cache is not None:
        write_whole(path, lambda temporary: write_buffer(temporary, cache.serialize()))


class Tensorrt:
    """Building and running engines through Python's tensorrt."""

    name = "tensorrt"

    def __init__(self, trt: Any, cuda: Cuda) -> None:
        self.trt, self.cuda, self.log = trt, cuda, make_log(trt)
        if hasattr(trt, "init_libnvinfer_plugins"):
            trt.init_libnvinfer_plugins(self.log, "")
        self.version = ".".join(str(trt.__version__).split(".")[:3])
        self.typed = not hasattr(trt.BuilderFlag, "FP16")

    def build(self, plan: Plan, engine: Path, timing: Path, options: argparse.Namespace) -> str:
        """Build a plan's engine into a file; where TensorRT said that its layers run."""
        self.log.lines.clear()
        self.log.placed.clear()
        builder = self.builder(plan)
        if options.dla is not None:
            check_dla(options.dla, getattr(builder, "num_DLA_cores", 0))
            check_dla_precision(plan.precision)
        if plan.precision == "int8" and not getattr(builder, "platform_has_fast_int8", True):
            raise Lacking("this GPU has no fast INT8")
        network, parser = parse(self.trt, self.log, builder, plan.onnx)
        config = configure(self.trt, builder, network, plan.precision, options)
        use_timing_cache(config, timing)
        data = builder.build_serialized_network(network, config)
        del parser
        if data is None:
            raise why_failed(
                str(plan.onnx), self.log.text(), what=f"the {plan.precision} engine cannot be built"
            )
        write_buffer(engine, data)
        keep_timing_cache(config, timing)
        return "\n".join(self.log.placed)

    def builder(self, plan: Plan) -> Any:
        """TensorRT's builder; it needs the GPU."""
        try:
            return self.trt.Builder(self.log)
        except (RuntimeError, TypeError) as error:
            log = self.log.text() or str(error)
            raise why_failed(str(plan.onnx), log, what="TensorRT's builder does not start") from error

    def measure(
        self, plan: Plan, engine: Path, golden: Mapping[str, Array], options: argparse.Namespace
    ) -> tuple[dict[str, Any], str]:
        """The figures of an engine, and why the golden vectors were not compared."""
        start = time.monotonic()
        session = self.load(engine, options)
        try:
            return self.run(session, golden, options, round(time.monotonic() - start, 6))
        finally:
            session.close()

    def load(self, engine: Path, options: argparse.Namespace) -> Session:
        """An engine with its buffers, ready to run; to be closed."""
        self.log.lines.clear()
        runtime = self.trt.Runtime(self.log)
        if options.dla is not None:
            runtime.DLA_core = options.dla
        loaded = runtime.deserialize_cuda_engine(engine.read_bytes())
        if loaded is None:
            raise why_failed(str(engine), self.log.text() or "please rebuild", what="it cannot be loaded")
        session = Session(self.trt, self.cuda, self.log, loaded, str(engine))
        session.runtime = runtime
        try:
            session.open(options.batch)
        except BaseException:
            session.close()
            raise
        return session

    def run(
        self, session: Session, golden: Mapping[str, Array], options: argparse.Namespace, load_seconds: float
    ) -> tuple[dict[str, Any], str]:
        """Golden vectors, then times, then times by layer, which slow a run."""
        difference, why = session.compare(golden)
        session.fill_inputs(golden)
        rows, wall = timed(session.once, options.seconds, options.warmup)
        information = session.information()
        return {
            **figures(rows, wall, session.batch),
            "load_seconds": load_seconds,
            "device_memory_bytes": session.device_memory(),
            "layers": layer_rows(information, session.layer_times(PROFILED_RUNS)),
            "golden": difference,
        }, why


class Tensor(NamedTuple):
    """An input or output: its place among the bindings, its type as a struct code, its shape, its two buffers."""

    name: str
    place: int
    is_input: bool
    code: str
    shape: tuple[int, ...]
    device: int
    host: int

    @property
    def values(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return self.values * struct.calcsize("<" + self.code)


class Session:
    """A loaded engine with its buffers; by tensor names (8.5 and later), else by bindings."""

    def __init__(self, trt: Any, cuda: Cuda, log: Any, engine: Any, where: str) -> None:
        self.trt, self.cuda, self.log, self.engine, self.where = trt, cuda, log, engine, where
        self.context = engine.create_execution_context()
        if self.context is None:
            raise why_failed(where, log.text() or "out of memory", what="its memory cannot be had")
        self.named = hasattr(engine, "num_io_tensors") and hasattr(self.context, "execute_async_v3")
        self.runtime: Any = None  # it has to outlive the engine
        self.held: list[tuple[str, int]] = []
        self.tensors: list[Tensor] = []
        self.bindings: list[int] = []
        self.batch = 1

    def open(self, batch: int) -> None:
        """Make stream, events and buffers, and bind them."""
        self.stream = self.hold("cudaStreamCreate", "cudaStreamDestroy")
        self.events = [self.hold("cudaEventCreate", "cudaEventDestroy") for _ in range(4)]
        for is_input in (True, False):  # the shapes of outputs follow from those of inputs
            self.tensors += [self.bind(index, name, is_input, batch) for index, name in self.names(is_input)]
        self.bindings = [tensor.device for tensor in sorted(self.tensors, key=lambda tensor: tensor.place)]
        self.batch = next((tensor.shape[0] for tensor in self.tensors if tensor.is_input and tensor.shape), 1)

    def hold(self, make: str, end: str, *values: Any) -> int:
        """Something of CUDA's that `close` gives back."""
        found = self.cuda.pointer(make, *values)
        self.held.append((end, found))
        return found

    def names(self, is_input: bool) -> list[tuple[int, str]]:
        """(index, name) of the inputs or of the outputs."""
        engine = self.engine
        if not self.named:
            places = [i for i in range(engine.num_bindings) if engine.binding_is_input(i) == is_input]
            return [(index, engine.get_binding_name(index)) for index in places]
        mode = self.trt.TensorIOMode.INPUT if is_input else self.trt.TensorIOMode.OUTPUT
        named = [(index, engine.get_tensor_name(index)) for index in range(engine.num_io_tensors)]
        return [(index, name) for index, name in named if engine.get_tensor_mode(name) == mode]

    def bind(self, index: int, name: str, is_input: bool, batch: int) -> Tensor:
        """A tensor with a buffer on the device and a pinned one on the host."""
        kind = self.engine.get_tensor_dtype(name) if self.named else self.engine.get_binding_dtype(index)
        shape = self.set_shape(index, name, batch) if is_input else self.shape_of(self.context, index, name)
        if -1 in shape:
            raise Stop(f"output '{name}': its size depends on the data ({list(shape)}). Run with --trtexec.")
        tensor = Tensor(name, index, is_input, type_code(name, kind), shape, 0, 0)
        size = max(tensor.nbytes, 1)
        device = self.hold("cudaMalloc", "cudaFree", size)
        host = self.hold("cudaMallocHost", "cudaFreeHost", size)
        if self.named:
            self.context.set_tensor_address(name, device)
        return tensor._replace(device=device, host=host)

    def shape_of(self, holder: Any, index: int, name: str) -> tuple[int, ...]:
        """A tensor's shape, as the engine or the context has it."""
        found = holder.get_tensor_shape(name) if self.named else holder.get_binding_shape(index)
        return tuple(int(axis) for axis in found)

    def set_shape(self, index: int, name: str, batch: int) -> tuple[int, ...]:
        """Tell the context an input's shape."""
        shape = with_batch(name, self.shape_of(self.engine, index, name), batch)
        context = self.context
        done = context.set_input_shape(name, shape) if self.named else context.set_binding_shape(index, shape)
        if done is False:
            raise Stop(f"input '{name}': the engine does not take the shape {list(shape)}. Delete engines/.")
        return shape

    def once(self) -> tuple[float, float, float]:
        """Run what is in the host's buffers; milliseconds of copying in, computing, copying out, by CUDA events."""
        cuda, stream, events = self.cuda, self.stream, self.events
        cuda.call("cudaEventRecord", events[0], stream)
        for tensor in self.tensors:
            if tensor.is_input:
                cuda.call("cudaMemcpyAsync", tensor.device, tensor.host, tensor.nbytes, 1, stream)
        cuda.call("cudaEventRecord", events[1], stream)
        self.execute()
        cuda.call("cudaEventRecord", events[2], stream)
        for tensor in self.tensors:
            if not tensor.is_input:
                cuda.call("cudaMemcpyAsync", tensor.host, tensor.device, tensor.nbytes, 2, stream)
        cuda.call("cudaEventRecord", events[3], stream)
        cuda.call("cudaStreamSynchronize", stream)
        return tuple(cuda.elapsed(events[i], events[i + 1]) for i in range(3))  # type: ignore[return-value]

    def execute(self) -> None:
        """Queue the engine; Stop with TensorRT's reason where it does not run."""
        if self.named:
            done = self.context.execute_async_v3(self.stream)
        else:
            done = self.context.execute_async_v2(self.bindings, self.stream)
        if not done:
            raise why_failed(self.where, self.log.text(), what="it does not run")

    def fill(self, tensor: Tensor, data: bytes) -> None:
        """Put bytes into an input's host buffer."""
        ctypes.memmove(tensor.host, data, tensor.nbytes)

    def fill_inputs(self, golden: Mapping[str, Array]) -> None:
        """The first golden sample, or fixed random values in [0, 1)."""
        for tensor in self.tensors:
            if tensor.is_input:
                array = golden.get(tensor.name)
                if array is not None and self.fits(tensor, array):
                    self.fill(tensor, pack(tensor.code, array.rows(0, self.batch)))
                else:
                    self.fill(tensor, random_bytes(tensor.code, tensor.values))

    def fits(self, tensor: Tensor, array: Array) -> bool:
        """Whether golden samples have the size that the engine's have."""
        return math.prod(array.shape[1:]) * self.batch == tensor.values

    def compare(self, golden: Mapping[str, Array]) -> tuple[dict[str, Any] | None, str]:
        """How far the golden vectors' results are from those here, or why that is not known."""
        if not golden:
            return None, ""
        for tensor in self.tensors:
            if tensor.name not in golden:
                return None, f"the golden vectors have no '{tensor.name}'"
            if not self.fits(tensor, golden[tensor.name]):
                have, want = list(golden[tensor.name].shape), list(tensor.shape)
                return None, f"the golden vectors' '{tensor.name}' has the shape {have}, the engine's {want}"
        difference, samples = Difference(), next(iter(golden.values())).shape[0]
        for start in range(0, samples, self.batch):
            self.compare_from(golden, start, min(self.batch, samples - start), difference)
        return difference.to_json(), ""

    def compare_from(
        self, golden: Mapping[str, Array], start: int, samples: int, difference: Difference
    ) -> None:
        """One run's share of the golden vectors."""
        for tensor in self.tensors:
            if tensor.is_input:
                self.fill(tensor, pack(tensor.code, golden[tensor.name].rows(start, self.batch)))
        self.once()
        for tensor in self.tensors:
            if not tensor.is_input:
                found = unpack(tensor.code, ctypes.string_at(tensor.host, tensor.nbytes))
                expected = golden[tensor.name].rows(start, samples)
                difference.add(expected, found[: len(expected)], samples)
        difference.samples += samples

    def information(self) -> str:
        """The engine inspector's JSON."""
        inspector = self.engine.create_engine_inspector()
        inspector.execution_context = self.context
        return str(inspector.get_engine_information(self.trt.LayerInformationFormat.JSON))

    def layer_times(self, runs: int) -> dict[str, float]:
        """Mean milliseconds a run of each layer."""
        profiler = make_profiler(self.trt)
        self.context.profiler = profiler
        for _ in range(runs):
            self.once()
        return {name: total / runs for name, total in profiler.total.items()}

    def device_memory(self) -> Any:
        """Bytes of activations on the device, as the engine says."""
        for name in ("device_memory_size_v2", "device_memory_size"):
            if hasattr(self.engine, name):
                return int(getattr(self.engine, name))
        return None

    def close(self) -> None:
        """Give memory, events and stream back."""
        self.context = None
        self.engine = None
        self.runtime = None
        while self.held:
            end, pointer = self.held.pop()
            getattr(self.cuda.library, end)(pointer)


def type_code(name: str, kind: Any) -> str:
    """The struct code of a TensorRT type."""
    word = str(kind).split(".")[-1]
    if word not in TENSORRT_CODES:
        raise Stop(f"tensor '{name}': inputs and outputs in {word} are not read. Export them in float32.")
    return TENSORRT_CODES[word]


def random_bytes(code: str, count: int) -> bytes:
    """Fixed random values in [0, 1), 0 and 1 for integers; a long tensor repeats 4096 of them."""
    chance = random.Random(0)
    some = [chance.random() if code in "fed" else chance.getrandbits(1) for _ in range(min(count, 4096))]
    data = pack(code, some)
    size = struct.calcsize("<" + code) * count
    return (data * (size // max(len(data), 1) + 1))[:size]


def import_tensorrt() -> tuple[Any, str]:
    """The module, or why there is none."""
    try:
        return importlib.import_module("tensorrt"), ""
    except ImportError as error:
        python = f"{sys.executable} (Python {platform.python_version()})"
        if not isinstance(error, ModuleNotFoundError) or error.name != "tensorrt":
            return None, f"{python} cannot load the module tensorrt: {error}"
        hidden = sys.prefix != sys.base_prefix
        why = (
            "a virtual environment, which hides JetPack's packages"
            if hidden
            else "it is not installed for this Python"
        )
        return None, f"{python} has no module tensorrt ({why})"


# ------------------------------------------------------------------------------------------------------ by trtexec


def find_trtexec(given: str, root: Path) -> str | None:
    """The program, on PATH or where JetPack puts it."""
    usual = root / "usr/src/tensorrt/bin/trtexec"
    return shutil.which(given) or (str(usual) if os.access(usual, os.X_OK) else None)


def flags_of(text: str) -> frozenset[str]:
    """The options that trtexec's help lists."""
    return frozenset(re.findall(r"(?m)^\s+(--\w+)", text))


def trtexec_version(text: str) -> str:
    """[TensorRT v8601] -> 8.6.1, [TensorRT v100300] -> 10.3.0."""
    found = re.search(r"\[TensorRT v(\d+)\]", text)
    if not found:
        return "unknown"
    value, unit = int(found[1]), 1000 if len(found[1]) < 6 else 10000
    return f"{value // unit}.{value % unit // 100}.{value % 100}"


def build_command(
    program: str,
    flags: frozenset[str],
    plan: Plan,
    engine: Path,
    timing: Path,
    shapes: str,
    options: argparse.Namespace,
) -> list[str]:
    """trtexec's command that builds an engine and stops, with the options that this version has."""
    command = [program, f"--onnx={plan.onnx}", f"--saveEngine={engine}", f"--timingCacheFile={timing}"]
    command += [
        "--profilingVerbosity=detailed",
        "--skipInference" if "--skipInference" in flags else "--buildOnly",
    ]
    if "--fp16" in flags:
        command += ["--" + flag.lower() for flag in PRECISION_FLAGS[plan.precision]]
    elif "--stronglyTyped" in flags:
        command.append("--stronglyTyped")
    if "--memPoolSize" not in flags:
        command.append(f"--workspace={options.workspace or OLD_WORKSPACE}")
    elif options.workspace:
        command.append(f"--memPoolSize=workspace:{options.workspace}")
    if shapes:
        command += [f"--{which}Shapes={shapes}" for which in ("min", "opt", "max")]
    if options.dla is not None:
        command += [f"--useDLACore={options.dla}", "--allowGPUFallback"]
    return command


def run_command(program: str, flags: frozenset[str], engine: Path, shapes: str, dla: int | None) -> list[str]:
    """trtexec's command that runs an engine with copies in and out, spinning, without CUDA graphs, in any version."""
    command = [program, f"--loadEngine={engine}"]
    if dla is not None:
        command.append(f"--useDLACore={dla}")
    if shapes:
        command.append(f"--shapes={shapes}")
    newer = "--noSpinWait" in flags  # 11 spins, leaves copies out and uses graphs unless told otherwise
    return command + (["--includeDataTransfers", "--noCudaGraph"] if newer else ["--useSpinWait"])


def timing_options(flags: frozenset[str], options: argparse.Namespace) -> list[str]:
    """How long to measure, and what to write."""
    words = [f"--warmUp={options.warmup}", f"--duration={options.seconds:g}", f"--iterations={LEAST_RUNS}"]
    words += ["--exportTimes=times.json", "--exportProfile=profile.json", "--exportLayerInfo=layers.json"]
    return words + ([] if "--noSpinWait" in flags else ["--separateProfileRun"])


def shapes_of(io: Mapping[str, Any], batch: int) -> str:
    """trtexec's word for the shapes of inputs that have free dimensions; empty where all are fixed."""
    free = [item for item in io["inputs"] if any(isinstance(axis, str) for axis in item["shape"])]
    shapes = [
        (item["name"], [-1 if isinstance(axis, str) else axis for axis in item["shape"]]) for item in free
    ]
    return ",".join(f"{name}:{'x'.join(map(str, with_batch(name, shape, batch)))}" for name, shape in shapes)


class Trtexec:
    """Building and running engines through NVIDIA's program."""

    name = "trtexec"

    def __init__(self, program: str) -> None:
        text, why = command_output(program, "--help", seconds=120)
        self.program, self.flags, self.version = program, flags_of(text), trtexec_version(text)
        if "--onnx" not in self.flags:
            raise Stop(
                f"{program}: it lists no option --onnx ({why or 'no help'}). Reinstall JetPack's TensorRT."
            )
        self.typed = "--fp16" not in self.flags
        self.seen: dict[str, Any] = {}

    def build(self, plan: Plan, engine: Path, timing: Path, options: argparse.Namespace) -> str:
        """Build a plan's engine into a file; trtexec's log."""
        shapes = shapes_of(read_onnx_io(plan.onnx), options.batch)
        if options.dla is not None:
            check_dla(options.dla, sys.maxsize if "--useDLACore" in self.flags else 0)
            check_dla_precision(plan.precision)
        log = []

        def write(cache: Path) -> None:
            if timing.is_file():
                shutil.copyfile(timing, cache)
            command = build_command(self.program, self.flags, plan, engine, cache, shapes, options)
            log.append(self.run(command, plan.onnx, f"the {plan.precision} engine cannot be built"))
            cache.touch()

        write_whole(timing, write)
        if not engine.is_file():
            raise Stop(f"{plan.onnx}: {self.program} wrote no engine. Run it by hand to see why.")
        return log[0]

    def measure(
        self, plan: Plan, engine: Path, golden: Mapping[str, Array], options: argparse.Namespace
    ) -> tuple[dict[str, Any], str]:
        """The figures of an engine, and why the golden vectors were not compared."""
        io = read_onnx_io(plan.onnx)
        shapes, batch = shapes_of(io, options.batch), batch_of(io, options.batch)
        command = run_command(self.program, self.flags, engine, shapes, options.dla)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as name:
            work = Path(name)
            difference, why = self.compare(engine, io, golden, command, batch, work)
            log = self.run(command + timing_options(self.flags, options), engine, "it cannot be timed", work)
            return {
                **trtexec_figures(work / "times.json", log, batch),
                "load_seconds": None,
                "device_memory_bytes": None,
                "layers": layer_rows(
                    text_of(work / "layers.json"), trtexec_layer_times(work / "profile.json")
                ),
                "golden": difference,
            }, why

    def compare(
        self, engine: Path, io: Any, golden: Mapping[str, Array], command: list[str], batch: int, work: Path
    ) -> tuple[dict[str, Any] | None, str]:
        """How far the golden vectors' results are from those here; a process for every batch."""
        if not golden:
            return None, ""
        difference, samples = Difference(), next(iter(golden.values())).shape[0]
        for start in range(0, min(samples, batch * GOLDEN_PROCESSES), batch):
            part = (start, batch, min(batch, samples - start))
            try:
                self.compare_from(engine, io, golden, command, part, work, difference)
            except KeyError as error:
                return None, f"the golden vectors or trtexec's outputs have no {error}"
            except (ValueError, TypeError) as error:
                return None, str(error)
        return difference.to_json(), ""

    def compare_from(
        self,
        engine: Path,
        io: Any,
        golden: Any,
        command: list[str],
        part: tuple[int, int, int],
        work: Path,
        difference: Any,
    ) -> None:
        """One process's share of the golden vectors: (start, batch, samples that count)."""
        start, batch, samples = part
        words = []
        for index, item in enumerate(io["inputs"]):
            code = self.input_code(item["dtype"])
            (work / f"in{index}.bin").write_bytes(pack(code, golden[item["name"]].rows(start, batch)))
            words.append(f"{item['name']}:in{index}.bin")
        once = ["--warmUp=0", "--duration=0", "--iterations=1", "--exportOutput=out.json"]
        command = [*command, *once, f"--loadInputs={','.join(words)}"]
        self.run(command, engine, "it does not run the golden vectors", work)
        found = {item["name"]: item["values"] for item in loads(text_of(work / "out.json"))}
        for item in io["outputs"]:
            expected = golden[item["name"]].rows(start, samples)
            difference.add(expected, found[item["name"]][: len(expected)], samples)
        difference.samples += samples

    def input_code(self, dtype: str) -> str:
        """The struct code of an input; TensorRT took int64 as int32 before 10."""
        older = "--workspace" in self.flags
        return "i" if older and dtype == "int64" else CODES.get(dtype, "f")

    def run(self, command: list[str], where: Path, what: str, folder: Path | None = None) -> str:
        """trtexec's output; Stop with its reason where it fails. It ends with this process."""
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise Stop(
                f"{self.program}: it cannot be run: {error.strerror}. Reinstall JetPack's TensorRT."
            ) from error
        try:
            log = process.communicate()[0].decode("utf-8", "replace")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        self.note_device(log)
        if process.returncode == -signal.SIGKILL:
            log += "\nout of memory (the system killed trtexec)"
        if process.returncode:
            raise trtexec_failure(where, log, what, self.version)
        return log

    def note_device(self, log: str) -> None:
        """The GPU's name and compute capability, as trtexec prints them."""
        for name, pattern in (
            ("gpu", r"Selected Device: *(.+)"),
            ("compute_capability", r"Compute Capability: *([\d.]+)"),
        ):
            found = re.search(pattern, log)
            if found:
                self.seen[name] = found[1].strip()


def end_with_parent() -> None:
    """Have Linux end this process when its parent ends, killed or not (PR_SET_PDEATHSIG)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGTERM)


def text_of(path: Path) -> str:
    """A file's text, empty where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def batch_of(io: Mapping[str, Any], batch: int) -> int:
    """The first dimension of the first input."""
    shape = io["inputs"][0]["shape"] if io["inputs"] else []
    return (batch if isinstance(shape[0], str) else int(shape[0])) if shape else 1


def trtexec_failure(where: Path, log: str, what: str, version: str) -> Stop:
    """The error of a failed trtexec: the parser's node and reason where it has them."""
    unknown = re.search(r"Unknown option: (\S+)", log)
    if unknown:
        return Stop(f"{where}: {what}: trtexec {version} has no option {unknown[1]}. Report this to edgekit.")
    node = re.search(r"While parsing node number (\d+) \[(\w+)(?: -> \"([^\"]*)\")?", log)
    if not node:
        errors = [
            re.sub(r"^\[[^\]]*\] *", "", line)
            for line in log.splitlines()
            if "[E]" in line or "memory" in line
        ]
        return why_failed(str(where), "\n".join(errors), what=what)
    named = re.search(r"--- Begin node ---.*?^.*?name: \"([^\"]*)\"", log, re.DOTALL | re.MULTILINE)
    reason = re.search(r"(Assertion failed: .*|No importer registered .*|ERROR: (?!.*In function).*)", log)
    name = named[1] if named else node[3] or ""
    return Stop(
        f"{where}: TensorRT {version} refuses node {node[1]} '{name}' ({node[2]}): "
        f"{reason[1].strip() if reason else 'no reason given'}. Export for this board's TensorRT, or keep that layer "
        "out of the quantization."
    )


def trtexec_figures(times: Path, log: str, batch: int) -> dict[str, Any]:
    """The latency fields from --exportTimes, or from the printed summary where that file is missing."""
    try:
        rows = [
            (float(row["h2dMs"]), float(row["computeMs"]), float(row["d2hMs"]))
            for row in loads(text_of(times))
        ]
    except (ValueError, KeyError, TypeError):
        rows = []
    found = figures(rows, None, batch) if rows else summary_figures(log)
    rate = re.search(r"Throughput: ([\d.e+-]+) qps", log)
    found["throughput"] = round(float(rate[1]) * batch, 3) if rate else None
    return found


def summary_figures(log: str) -> dict[str, Any]:
    """The latency fields from trtexec's performance summary."""
    runs = re.search(r"Timing trace has (\d+) queries", log)
    names = {
        "latency_ms": "Latency",
        "h2d_ms": "H2D Latency",
        "compute_ms": "GPU Compute Time",
        "d2h_ms": "D2H Latency",
    }
    found: dict[str, Any] = {}
    for field, words in names.items():
        line = re.search(rf"(?m)^(?:.*\] )?{words}: (min = .*)$", log)
        if not line:
            raise Stop("trtexec: it wrote no times and printed no summary. Run it by hand to see why.")
        given = dict(re.findall(r"([\w()%]+) = ([\d.e+-]+) ms", line[1]))
        shares = {f"p{share}": given.get(f"percentile({share}%)") for share in (90, 95, 99)}
        words_of = {"min": given.get("min"), "mean": given.get("mean"), "p50": given.get("median"), **shares}
        numbers = {name: float(text) if text else None for name, text in words_of.items()}
        found[field] = {**numbers, "max": float(given["max"]), "n": int(runs[1]) if runs else None}
    return found


def trtexec_layer_times(path: Path) -> dict[str, float]:
    """Mean milliseconds by layer from --exportProfile."""
    try:
        times = {row["name"]: float(row["averageMs"]) for row in loads(text_of(path)) if "name" in row}
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: ms for name, ms in times.items() if math.isfinite(ms)}


# ------------------------------------------------------------------------------------------------------ the command


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code: 0, or 2 where something asked for is missing."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        failures = run(arguments(words))
    except Stop as error:
        failures = [str(error)]
    except OSError as error:
        failures = [f"{error.filename}: {error.strerror}. Make it readable, or copy the folder again."]
    except KeyboardInterrupt:
        return 130
    for line in failures:
        print(f"measure: {line}", file=sys.stderr)
    return 2 if failures else 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="measure.py", description="Build, time and check the engines of this folder on this board."
    )
    parser.add_argument("--folder", type=Path, help="the folder that edgekit wrote (default: this one)")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["fp16", "int8"], metavar="P")
    parser.add_argument(
        "--seconds", type=positive, default=3.0, help="time each engine for so long (default: 3)"
    )
    parser.add_argument(
        "--warmup",
        type=whole_number,
        default=200,
        metavar="MS",
        help="milliseconds before that (default: 200)",
    )
    parser.add_argument(
        "--batch",
        type=whole_number,
        default=1,
        help="samples a run where the model leaves it free (default: 1)",
    )
    parser.add_argument("--out", type=Path, help="the result (default: measured.json in the folder)")
    parser.add_argument("--board", help="the board's name in edgekit (default: the one in report.json)")
    parser.add_argument(
        "--workspace", type=whole_number, default=0, metavar="MIB", help="the builder's memory (default: all)"
    )
    parser.add_argument(
        "--dla",
        type=dla_core,
        metavar="CORE",
        help="run on a core of the deep learning accelerator, and on the GPU what it does not take",
    )
    parser.add_argument("--no-build", action="store_true", help="use the engines that are there, or stop")
    parser.add_argument(
        "--trtexec", nargs="?", const="trtexec", metavar="PATH", help="use the program, not the module"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="read /etc, /proc and /sys under here (default: /)"
    )
    return parser.parse_args(words)


def default_folder() -> Path:
    """Where the models are: here, beside this file, or one above it."""
    script = Path(__file__).resolve().parent
    places = [Path.cwd(), script, script.parent]
    return next(
        (place for place in places if (place / "model.onnx").is_file() or float_model(place)), places[0]
    )


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return value


def whole_number(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number from 1")
    return int(text)


def dla_core(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' must be a core's number, from 0")
    return int(text)


def choose_tool(options: argparse.Namespace) -> tuple[Any, Cuda | None]:
    """Python's tensorrt, or trtexec where that was asked for or is all there is; and CUDA."""
    why = ""
    if options.trtexec is None:
        module, why = import_tensorrt()
        if module is not None:
            cuda = load_cuda()
            return Tensorrt(module, cuda), cuda
    program = find_trtexec(options.trtexec or "trtexec", options.root)
    if program is None:
        raise Stop(no_tensorrt(why))
    if why:
        say(f"{why}: {program} is used")
    try:
        return Trtexec(program), load_cuda()
    except Stop as error:
        if not str(error).startswith("CUDA"):
            raise
        return Trtexec(program), None


def no_tensorrt(why: str) -> str:
    """Neither the module nor the program is there."""
    first = f"{why}, and trtexec is" if why else "trtexec is"
    return (
        f"TensorRT: {first} neither on PATH nor in /usr/src/tensorrt/bin. Use JetPack's own /usr/bin/python3, or an "
        "environment made by 'python3 -m venv --system-site-packages', or install both with 'sudo apt install "
        "python3-libnvinfer libnvinfer-bin'."
    )


def run(options: argparse.Namespace) -> list[str]:
    """Build every engine, then time every engine, write the result; what failed, a line each."""
    folder = (options.folder or default_folder()).resolve()
    if not folder.is_dir():
        raise Stop(f"{folder}: there is no such folder. Name the one that edgekit wrote, with --folder.")
    tool, cuda = choose_tool(options)
    device = {**board_facts(options.root), **gpu_facts(cuda, options.root)}
    reasons: dict[str, str] = {}
    listed = plans(folder, options.precisions, tool.typed, reasons)
    golden, why = golden_vectors(folder, listed[0].onnx)
    device["before"] = board_state(options.root)
    bench = Bench(tool, Store(folder), golden, device, options)
    engines, failures = bench.all(listed)
    device.update({name: value for name, value in getattr(tool, "seen", {}).items() if not device.get(name)})
    device["after"] = board_state(options.root)
    reasons.update(failures)
    reasons.update({"golden": why} if why else {})
    reasons.update(bench.reasons)
    content = result(folder, options, tool, cuda, device, engines, reasons)
    out = options.out or folder / "measured.json"
    write_json(out, content)
    summary(content, out)
    if not engines:
        return ["; ".join(dict.fromkeys([*failures.values(), *bench.reasons.values()]))]
    return [*failures.values(), *([] if content["kept"] else [content["kept_because"]])]


class Bench:
    """A tool, the engines' store and what they are measured with."""

    def __init__(
        self, tool: Any, store: Store, golden: Mapping[str, Array], device: Mapping[str, Any], options: Any
    ) -> None:
        self.tool, self.store, self.golden, self.device, self.options = tool, store, golden, device, options
        self.reasons: dict[str, str] = {}

    def all(self, listed: Sequence[Plan]) -> tuple[dict[str, Any], dict[str, str]]:
        """Every engine's figures, and why some have none; built first, so that no build heats a measurement."""
        engines: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for plan in listed:
            try:
                engines[plan.precision] = self.obtain(plan)
                if engines[plan.precision]["cached"]:
                    say(f"{plan.precision}: the engine of this model and board is there")
            except Lacking as error:
                self.reasons[plan.precision] = str(error)
            except Stop as error:
                failures[plan.precision] = str(error)
        for plan in [plan for plan in listed if plan.precision in engines]:
            try:
                engines[plan.precision] = self.measure(plan, engines[plan.precision])
            except Stop as error:
                failures[plan.precision] = str(error)
                del engines[plan.precision]
        return engines, failures

    def obtain(self, plan: Plan, anew: str = "") -> dict[str, Any]:
        """The engine of a plan, from the cache or built now; `anew` is a reason to build in any case."""
        card, why = (None, anew) if anew else self.store.cached(plan.precision, self.key(plan))
        cached = card is not None
        if card is None:
            card = self.build(plan, why)
        return {
            "onnx": plan.onnx.name,
            "sha256": plan.sha256,
            "engine": f"engines/{plan.precision}.engine",
            "bytes": self.store.engine(plan.precision).stat().st_size,
            "build_seconds": card["build_seconds"],
            "cached": cached,
            "rebuilt_because": why or None,
            "dla": card.get("dla"),
        }

    def build(self, plan: Plan, why: str) -> dict[str, Any]:
        """Build an engine; Stop where --no-build forbids it."""
        if self.options.no_build:
            state = f"it was built for something else ({why})" if why else "there is none"
            raise Stop(
                f"{self.store.engine(plan.precision)}: {state}. Engines are not portable between boards: run "
                "without --no-build."
            )
        again = f" again ({why})" if why else ""
        say(f"{plan.precision}: building from {plan.onnx.name}{again}; a small board takes minutes")
        card = self.store.build(self.tool, plan, self.key(plan), self.options)
        say(f"{plan.precision}: built in {card['build_seconds']:.1f} s")
        return card

    def measure(self, plan: Plan, built: dict[str, Any]) -> dict[str, Any]:
        """An engine's figures; one from the cache that cannot be loaded is built once more."""
        say(f"{plan.precision}: measuring for {self.options.seconds:g} s")
        path = self.store.engine(plan.precision)
        try:
            found, why = self.tool.measure(plan, path, self.golden, self.options)
        except Unloadable as error:
            if not built["cached"] or self.options.no_build:
                raise
            built = self.obtain(plan, anew=f"it could not be loaded: {error}")
            found, why = self.tool.measure(plan, path, self.golden, self.options)
        if why:
            self.reasons[f"{plan.precision}.golden"] = why
        return {**built, **found}

    def key(self, plan: Plan) -> dict[str, Any]:
        """All that an engine depends on."""
        return {
            "onnx": plan.sha256,
            "precision": plan.precision,
            "tensorrt": self.tool.version,
            **{name: self.device[name] for name in BOARD_KEYS},
            "batch": self.options.batch,
            "workspace": self.options.workspace,
            "dla": self.options.dla,
        }


def gpu_facts(cuda: Cuda | None, root: Path) -> dict[str, Any]:
    """The GPU by CUDA; without it the board's name stands for the GPU."""
    if cuda is not None:
        return cuda.facts()
    name = read_text(root / "proc/device-tree/model") or platform.machine()
    return {"gpu": name, "compute_capability": None, "memory_bytes": None}


def result(
    folder: Path,
    options: Any,
    tool: Any,
    cuda: Cuda | None,
    device: Any,
    engines: Any,
    reasons: Mapping[str, str],
) -> dict[str, Any]:
    """The content of measured.json."""
    report = read_json(folder / "report.json")
    board = options.board or (report.get("board") if isinstance(report, dict) else None)
    kept, because = keep(engines)
    return {
        "schema": SCHEMA,
        "board": board,
        "device": device,
        "versions": {
            "tensorrt": tool.version,
            **(cuda.versions() if cuda is not None else {}),
            "python": platform.python_version(),
        },
        "measuring": {
            "tool": tool.name,
            "seconds": options.seconds,
            "warmup_ms": options.warmup,
            "least_runs": LEAST_RUNS,
            "batch": options.batch,
            "cuda_graph": False,
            "latency": "host to device + compute + device to host, by CUDA events",
            "throughput": "runs one after another"
            if tool.name == "tensorrt"
            else "runs overlap as trtexec has it",
        },
        "engines": engines,
        "kept": kept,
        "kept_because": because,
        "not_measured": {**reasons, "energy": "measure.py reads no power sensor"},
    }


def keep(engines: Mapping[str, Any]) -> tuple[str | None, str]:
    """The precision with the shortest median latency among those with finite results, and why."""
    sound = {name: row for name, row in engines.items() if not row["golden"] or row["golden"]["finite"]}
    if not engines:
        return None, "no engine was built and run"
    if not sound:
        return (
            None,
            "every engine gives results that are not finite on the golden vectors. Do not deploy them.",
        )
    ordered = sorted(sound, key=lambda name: sound[name]["latency_ms"]["p50"])
    if len(ordered) == 1:
        return ordered[0], "it is the only one that was measured" if len(
            engines
        ) == 1 else "the others are not finite"
    first, second = (sound[name]["latency_ms"]["p50"] for name in ordered[:2])
    return ordered[0], f"its median latency is {first:.4f} ms, that of {ordered[1]} is {second:.4f} ms"


def summary(content: Mapping[str, Any], out: Path) -> None:
    """What was found, a line for each engine."""
    for name, row in content["engines"].items():
        parts = [
            f"{row[field + '_ms']['p50']:.4f} {word}"
            for field, word in (("h2d", "in"), ("compute", "compute"), ("d2h", "out"))
        ]
        golden = row["golden"]
        what = (
            f"largest difference {golden['max_abs']}" if golden and golden["finite"] else "results not finite"
        )
        check = f"; {what} over {golden['n']} samples" if golden else ""
        check += f"; {dla_words(row['dla'])}" if row["dla"] else ""
        rate = f"{row['throughput']:.1f} a second" if row["throughput"] else "throughput unknown"
        say(f"{name}: {row['latency_ms']['p50']:.4f} ms ({', '.join(parts)}), {rate}{check}")
    say(f"kept: {content['kept'] or 'none'}, {content['kept_because']}")
    for name, reason in content["not_measured"].items():
        say(f"not measured: {name}: {reason}")
    say(f"written: {out}")


def dla_words(dla: Mapping[str, Any]) -> str:
    """What ran on DLA, and what did not."""
    fell = f"; on the GPU: {', '.join(dla['fell_back'])}" if dla["fell_back"] else ", nothing on the GPU"
    return f"{dla['on_dla']} pieces on DLA core {dla['core']}{fell}"


if __name__ == "__main__":
    sys.exit(main())
