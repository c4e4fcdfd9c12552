"""TensorRT's Python surface in four versions, as far as a board script uses it; what a version lacks is absent.

Which names each version has was read from NVIDIA's own bindings (python/src of github.com/NVIDIA/TensorRT at the
tags 8.4.1, v8.6.1, v10.3.0 and v11.1). Unknown attributes cannot be set, as on pybind11 classes.
"""

# ruff: noqa: B905, N815, UP031  it runs on Python 3.8 too
import ctypes
import json
import os
import struct
import time

import fake_net

__version__ = fake_net.VERSION
ERA = ".".join(__version__.split(".")[:2])

NAMED = {"execute_async_v3", "set_tensor_address", "set_input_shape", "get_tensor_shape", "num_io_tensors"}
NAMED |= {"get_tensor_name", "get_tensor_mode", "get_tensor_dtype"}
BOUND = {"execute_async_v2", "set_binding_shape", "get_binding_shape", "num_bindings", "get_binding_name"}
BOUND |= {"get_binding_dtype", "binding_is_input", "max_workspace_size"}
NEWER = {"node_name", "node_operator", "device_memory_size_v2"}
OLDER = {"platform_has_fast_fp16", "platform_has_fast_int8", "device_memory_size"}
DLA = {"num_DLA_cores", "DLA_core", "default_device_type"}  # not in 11.0 to 11.3
ABSENT = {"8.4": NAMED | NEWER, "8.6": NEWER, "10.3": BOUND, "11.1": BOUND | OLDER | DLA}[ERA]

COMMON_FLAGS = [
    "DEBUG",
    "GPU_FALLBACK",
    "REFIT",
    "DISABLE_TIMING_CACHE",
    "TF32",
    "SPARSE_WEIGHTS",
    "DIRECT_IO",
]
TYPED_FLAGS = ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"]
BUILDER_FLAGS = {
    "8.4": COMMON_FLAGS + TYPED_FLAGS + ["STRICT_TYPES"],
    "8.6": COMMON_FLAGS + TYPED_FLAGS + ["VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "FP8"],
    "10.3": COMMON_FLAGS + TYPED_FLAGS + ["VERSION_COMPATIBLE", "BF16", "FP8", "INT4", "STRIP_PLAN"],
    "11.1": [*COMMON_FLAGS, "VERSION_COMPATIBLE", "STRIP_PLAN", "STRICT_NANS", "MONITOR_MEMORY"],
}[ERA]
NETWORK_FLAGS = {
    "8.4": ["EXPLICIT_BATCH", "EXPLICIT_PRECISION"],
    "8.6": ["EXPLICIT_BATCH", "EXPLICIT_PRECISION"],
    "10.3": ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
    "11.1": ["STRONGLY_TYPED"],
}[ERA]


def note(**what):
    """Tell the test what was asked of TensorRT."""
    if os.environ.get("FAKE_NOTES"):
        with open(os.environ["FAKE_NOTES"], "a") as file:
            file.write(json.dumps(what) + "\n")


class Member:
    """An enumeration's member, as pybind11 shows it."""

    def __init__(self, owner, name, value):
        self.owner, self.name, self.value = owner, name, value

    def __str__(self):
        return self.owner + "." + self.name

    def __int__(self):
        return self.value


def enumeration(name, members):
    return type(name, (), {word: Member(name, word, index) for index, word in enumerate(members)})


BuilderFlag = enumeration("BuilderFlag", BUILDER_FLAGS)
NetworkDefinitionCreationFlag = enumeration("NetworkDefinitionCreationFlag", NETWORK_FLAGS)
DataType = enumeration(
    "DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL"] + (["INT64"] if ERA > "8.6" else [])
)
ProfilingVerbosity = enumeration("ProfilingVerbosity", ["LAYER_NAMES_ONLY", "DETAILED", "NONE"])
LayerInformationFormat = enumeration("LayerInformationFormat", ["ONELINE", "JSON"])
DeviceType = enumeration("DeviceType", ["GPU", "DLA"])
MemoryPoolType = enumeration("MemoryPoolType", ["WORKSPACE", "DLA_MANAGED_SRAM"])
if ERA != "8.4":
    TensorIOMode = enumeration("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])


class Strict:
    """A class whose attributes are those that it declares."""

    def __setattr__(self, name, value):
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError("'" + type(self).__name__ + "' object has no attribute '" + name + "'")
        object.__setattr__(self, name, value)


def of_this_version(cls):
    """The class without what this version lacks."""
    kept = {name: value for name, value in vars(cls).items() if name not in ABSENT}
    return type(cls.__name__, cls.__bases__, kept)


class ILogger:
    Severity = enumeration("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

    def __init__(self):
        self._made = True


class IProfiler:
    def __init__(self):
        self._made = True


_first_logger = []


def logger_of(logger):
    """The first logger stays that of the process, as in TensorRT; one whose base was not made is a TypeError."""
    if not isinstance(logger, ILogger) or not hasattr(logger, "_made"):
        raise TypeError("a logger must be an ILogger whose __init__ was called")
    _first_logger.append(logger)
    return _first_logger[0]


def init_libnvinfer_plugins(logger, namespace):
    logger_of(logger)
    return True


class Buffer(bytearray):
    """IHostMemory: it can be written to a file."""

    nbytes = property(len)


@of_this_version
class ITimingCache(Strict):
    def __init__(self, data):
        self._data = data

    def serialize(self):
        return Buffer(self._data)


@of_this_version
class IBuilderConfig(Strict):
    profiling_verbosity = None
    max_workspace_size = 0
    default_device_type = DeviceType.GPU
    DLA_core = -1

    def __init__(self):
        self._flags, self._profiles, self._cache, self._pool = [], [], None, {}

    def set_flag(self, flag):
        self._flags.append(flag.name)

    def set_memory_pool_limit(self, pool, size):
        self._pool[pool.name] = size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, data):
        return ITimingCache(bytes(data))

    def set_timing_cache(self, cache, ignore_mismatch):
        fits = not cache._data or cache._data.startswith(b"timing " + __version__.encode())
        if fits or ignore_mismatch:
            self._cache = cache
        return fits or ignore_mismatch

    def get_timing_cache(self):
        return self._cache


class IOptimizationProfile(Strict):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, least, best, most):
        self._shapes[name] = [list(least), list(best), list(most)]


class ITensor(Strict):
    def __init__(self, name, shape):
        self._name, self._shape = name, tuple(shape)

    name = property(lambda self: self._name)
    shape = property(lambda self: self._shape)


class INetworkDefinition(Strict):
    def __init__(self, flags):
        self._flags, self._net = flags, None

    num_inputs = property(lambda self: len(self._net["inputs"]))

    def get_input(self, index):
        name, shape, _ = self._net["inputs"][index]
        return ITensor(name, shape)


@of_this_version
class Builder(Strict):
    platform_has_fast_fp16 = True
    num_DLA_cores = fake_net.DLA_CORES
    platform_has_fast_int8 = os.environ.get("FAKE_FAST_INT8", "1") == "1"

    def __init__(self, logger):
        self._logger = logger_of(logger)

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        net, flags = network._net, config._flags
        pool = config._pool.get(
            "WORKSPACE", config.max_workspace_size if hasattr(config, "max_workspace_size") else 0
        )
        seen = len(config._cache._data) if config._cache else None
        note(build=flags, network=network._flags, timing=seen, workspace=pool)
        on_dla = getattr(config, "default_device_type", DeviceType.GPU) is DeviceType.DLA
        error = fake_net.dla_error(config.DLA_core, flags) if on_dla else ""
        error = error or fake_net.build_error(net, flags)
        if any(-1 in shape for _, shape, _ in net["inputs"]) and not config._profiles:
            error = "Network has dynamic or shape inputs, but no optimization profile has been defined."
        if error:
            self._logger.log(ILogger.Severity.ERROR, error)
            return None
        for line in fake_net.dla_log(net) if on_dla else []:
            self._logger.log(ILogger.Severity.INFO, line)
        if config._cache is not None:
            config._cache._data = b"timing " + __version__.encode() + b" of " + fake_net.GPU.encode()
        detailed = getattr(config.profiling_verbosity, "name", "") == "DETAILED"
        shapes = {name: given[2] for profile in config._profiles for name, given in profile._shapes.items()}
        return Buffer(fake_net.engine_of(net, flags, detailed, shapes))


@of_this_version
class ParserError(Strict):
    def __init__(self, told):
        self._told = told

    def code(self):
        return enumeration("ErrorCode", ["UNSUPPORTED_NODE"]).UNSUPPORTED_NODE

    def desc(self):
        return self._told["desc"]

    def node(self):
        return self._told["node"]

    def node_name(self):
        return self._told["name"]

    def node_operator(self):
        return self._told["operator"]


class OnnxParser(Strict):
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, logger_of(logger), []

    def parse_from_file(self, path):
        if ERA.startswith("8") and not self._network._flags & 1:
            self._logger.log(ILogger.Severity.ERROR, "the network must be created with EXPLICIT_BATCH")
            return False
        try:
            net = fake_net.network(path)
        except (OSError, ValueError) as error:
            self._logger.log(ILogger.Severity.ERROR, "ModelImporter.cpp:736: " + str(error))
            return False
        if net["refuse"]:
            self._errors.append(ParserError(net["refuse"]))
            return False
        self._network._net = net
        return True

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]


@of_this_version
class Runtime(Strict):
    DLA_core = -1

    def __init__(self, logger):
        self._logger = logger_of(logger)

    def deserialize_cuda_engine(self, data):
        error = fake_net.load_error(data)
        note(load=getattr(self, "DLA_core", None)) if os.environ.get("FAKE_DLA") else None
        if error:
            self._logger.log(ILogger.Severity.ERROR, error)
            return None
        return ICudaEngine(json.loads(bytes(data).decode()), self._logger)


@of_this_version
class ICudaEngine(Strict):
    device_memory_size = 4096
    device_memory_size_v2 = 4096

    def __init__(self, engine, logger):
        self._engine, self._logger = engine, logger
        net = engine["net"]
        self._io = [(True, *item) for item in net["inputs"]] + [(False, *item) for item in net["outputs"]]
        self._by_name = {item[1]: item for item in self._io}

    num_io_tensors = property(lambda self: len(self._io))
    num_bindings = property(lambda self: len(self._io))

    def get_tensor_name(self, index):
        return self._io[index][1]

    get_binding_name = get_tensor_name

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if self._by_name[name][0] else TensorIOMode.OUTPUT

    def binding_is_input(self, index):
        return self._io[index][0]

    def get_tensor_shape(self, name):
        return tuple(self._by_name[name][2])

    def get_binding_shape(self, index):
        return tuple(self._io[index][2])

    def get_tensor_dtype(self, name):
        return getattr(DataType, self._by_name[name][3])

    def get_binding_dtype(self, index):
        return getattr(DataType, self._io[index][3])

    def create_execution_context(self):
        if os.environ.get("FAKE_CONTEXT_ERROR"):
            self._logger.log(ILogger.Severity.ERROR, os.environ["FAKE_CONTEXT_ERROR"])
            return None
        return IExecutionContext(self)

    def create_engine_inspector(self):
        return EngineInspector(self)


class EngineInspector(Strict):
    execution_context = None

    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, form):
        return fake_net.inspection(self._engine._engine) if form.name == "JSON" else ""


@of_this_version
class IExecutionContext(Strict):
    profiler = None
    enqueue_emits_profile = True

    def __init__(self, engine):
        self._owner, self._addresses = engine, {}
        self._shapes = {item[1]: list(item[2]) for item in engine._io}

    def set_input_shape(self, name, shape):
        return accept_shape(self, name, shape)

    def set_binding_shape(self, index, shape):
        return accept_shape(self, self._owner._io[index][1], shape)

    def get_tensor_shape(self, name):
        return tuple(self._shapes[name])

    def get_binding_shape(self, index):
        return tuple(self._shapes[self._owner._io[index][1]])

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        return self._execute(self._addresses, stream_handle)

    def execute_async_v2(self, bindings, stream_handle):
        return self._execute({item[1]: bindings[i] for i, item in enumerate(self._owner._io)}, stream_handle)

    def _execute(self, addresses, stream):
        if any(not addresses.get(item[1]) for item in self._owner._io) or not stream:
            self._owner._logger.log(ILogger.Severity.ERROR, "Address is not set for a tensor")
            return False
        start = time.perf_counter()
        engine, shapes = self._owner._engine, self._shapes
        (name, _, kind), (out, _, out_kind) = engine["net"]["inputs"][0], engine["net"]["outputs"][0]
        batch = shapes[name][0]
        values = read(addresses[name], kind, volume(shapes[name]))
        size, count = len(values) // batch, volume(shapes[out]) // batch
        parts = [fake_net.outputs(engine, values[i * size : (i + 1) * size], count) for i in range(batch)]
        write(addresses[out], out_kind, [value for part in parts for value in part])
        while time.perf_counter() - start < fake_net.MILLISECONDS[engine["precision"]] / 1e3:
            pass
        if self.profiler is not None:
            for layer, ms in fake_net.layer_times(engine):
                self.profiler.report_layer_time(layer, ms)
        return True


def accept_shape(context, name, shape):
    """Whether an input may have a shape; outputs that follow the batch take it over."""
    owner = context._owner
    declared = owner._by_name[name][2]
    if len(shape) != len(declared) or any(want not in (-1, got) for want, got in zip(declared, shape)):
        return False
    if owner._engine["shapes"].get(name, list(shape)) != list(shape):
        return False
    context._shapes[name] = list(shape)
    for is_input, other, wanted, _ in owner._io:
        if not is_input and wanted and wanted[0] == -1:
            context._shapes[other][0] = shape[0]
    return True


def volume(shape):
    count = 1
    for axis in shape:
        count *= axis
    return count


CODES = {"FLOAT": "f", "HALF": "e", "INT8": "b", "INT32": "i"}


def read(address, kind, count):
    data = ctypes.string_at(address, count * struct.calcsize(CODES[kind]))
    return list(struct.unpack("<%d%s" % (count, CODES[kind]), data))


def write(address, kind, values):
    data = struct.pack("<%d%s" % (len(values), CODES[kind]), *values)
    ctypes.memmove(address, data, len(data))
