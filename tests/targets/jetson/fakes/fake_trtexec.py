"""A trtexec of four versions: it takes the options that its version's help lists, and writes NVIDIA's export formats.

Options and formats were read from samples/common/sampleOptions.cpp and sampleReporting.cpp of
github.com/NVIDIA/TensorRT at the tags 8.4.1, v8.6.1, v10.3.0 and v11.1. FAKE_TENSORRT sets the version, FAKE_NOTES
a file for the options it was given, FAKE_NO_TIMES leaves --exportTimes out, FAKE_TRTEXEC_KILL ends it by SIGKILL.
"""

# ruff: noqa: B905, UP031  it runs on Python 3.8 too
import json
import os
import signal
import struct
import sys
import time

import fake_net

ERA = ".".join(fake_net.VERSION.split(".")[:2])
COMMON = "help onnx saveEngine loadEngine timingCacheFile profilingVerbosity memPoolSize shapes minShapes optShapes"
COMMON += (
    " maxShapes warmUp duration iterations avgRuns exportTimes exportProfile exportLayerInfo exportOutput"
)
COMMON += " loadInputs noTF32 percentile verbose separateProfileRun useSpinWait useCudaGraph noDataTransfers"
OLDER = (
    " useDLACore allowGPUFallback fp16 int8 best calib precisionConstraints layerPrecisions layerOutputTypes"
)
OPTIONS = {
    "8.4": COMMON + OLDER + " workspace buildOnly batch maxBatch",
    "8.6": COMMON + OLDER + " workspace skipInference fp8 batch maxBatch builderOptimizationLevel",
    "10.3": COMMON + OLDER + " skipInference bf16 fp8 int4 stronglyTyped builderOptimizationLevel",
    "11.1": COMMON + " skipInference stronglyTyped includeDataTransfers noSpinWait noCudaGraph",
}[ERA].split()
NUMBER = {"8.4": "8401", "8.6": "8602", "10.3": "100300", "11.1": "110100"}[ERA]


def say(text, level="I", file=sys.stdout):
    print("[11/29/2026-06:00:00] [" + level + "] " + text, file=file, flush=True)


def verdict(word):
    print(
        "&&&& " + word + " TensorRT.trtexec [TensorRT v" + NUMBER + "] # trtexec " + " ".join(sys.argv[1:]),
        flush=True,
    )


def fail(text):
    say(text, "E", sys.stderr)
    verdict("FAILED")
    return 1


def main(words):
    verdict("RUNNING")
    if "--help" in words or not words:
        print("=== Model Options ===")
        for name in OPTIONS:
            print(
                "  --"
                + name
                + ("=<value>" if name not in ("fp16", "int8", "help") else "")
                + "     Words about it"
            )
        return 0
    given = dict(word[2:].split("=", 1) if "=" in word else (word[2:], True) for word in words)
    if os.environ.get("FAKE_NOTES"):
        with open(os.environ["FAKE_NOTES"], "a") as file:
            file.write(json.dumps(given) + "\n")
    unknown = [name for name in given if name not in OPTIONS]
    if unknown:
        return fail("Unknown option: --" + unknown[0] + " ")
    say("=== Device Information ===")
    say("Selected Device: " + fake_net.GPU)
    say("Compute Capability: " + fake_net.CC)
    code = build(given) if "onnx" in given else infer(given)
    if code == 0:
        verdict("PASSED")
    return code


def build(given):
    """Parse, build, save; with the parser's own words where it refuses."""
    try:
        net = fake_net.network(given["onnx"])
    except ValueError:
        return fail("Failed to parse onnx file")
    if net["refuse"]:
        return refuse(net["refuse"])
    free = any(-1 in shape for _, shape, _ in net["inputs"])
    if "minShapes" in given and not free:
        return fail(
            "Static model does not take explicit shapes since the shape of inference tensors will be determined"
        )
    with open(given["saveEngine"], "wb") as file:  # a kill leaves half of it
        file.write(b'{"engine": ')
    if os.environ.get("FAKE_TRTEXEC_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    flags = [name.upper() for name in ("fp16", "int8") if name in given]
    core = given.get("useDLACore")
    error = (
        fake_net.dla_error(int(core), flags + ["GPU_FALLBACK"] * ("allowGPUFallback" in given))
        if core
        else ""
    )
    error = error or fake_net.build_error(net, flags)
    if error:
        os.unlink(given["saveEngine"])
        return fail(error)
    shapes = dict(parse_shapes(given.get("minShapes", "")))
    with open(given["saveEngine"], "wb") as file:
        file.write(fake_net.engine_of(net, flags, given.get("profilingVerbosity") == "detailed", shapes))
    for line in fake_net.dla_log(net) if core else []:
        say("[TRT] " + line)
    if "timingCacheFile" in given:
        with open(given["timingCacheFile"], "ab") as file:
            file.write(b"timing ")
    say("Engine built in 1.5 sec.")
    if "skipInference" not in given and "buildOnly" not in given:
        return fail("this fake only builds or runs")
    return 0


def refuse(told):
    """ModelImporter's lines of a node that is not taken."""
    where = '%d [%s -> "%s_out"]:' % (told["node"], told["operator"], told["name"])
    say("[TRT] ModelImporter.cpp:773: While parsing node number " + where, "E", sys.stderr)
    say("[TRT] ModelImporter.cpp:774: --- Begin node ---", "E", sys.stderr)
    say(
        '[TRT] ModelImporter.cpp:775: input: "x"\noutput: "%s_out"\nname: "%s"\nop_type: "%s"\n'
        % (told["name"], told["name"], told["operator"]),
        "E",
        sys.stderr,
    )
    say("[TRT] ModelImporter.cpp:776: --- End node ---", "E", sys.stderr)
    say(
        "[TRT] ModelImporter.cpp:779: ERROR: builtin_op_importers.cpp:1 In function importer:\n[6] "
        + told["desc"],
        "E",
        sys.stderr,
    )
    return fail("Failed to parse onnx file")


def parse_shapes(text):
    for part in filter(None, text.split(",")):
        name, _, shape = part.rpartition(":")
        yield name, [int(axis) for axis in shape.split("x")]


def infer(given):
    """Run, print the summary, write the exports."""
    with open(given["loadEngine"], "rb") as file:
        data = file.read()
    error = fake_net.load_error(data)
    if error:
        return fail(error)
    engine = json.loads(data.decode())
    shapes = dict(parse_shapes(given.get("shapes", "")))
    if shapes and not engine["shapes"]:
        return fail(
            "Static model does not take explicit shapes since the shape of inference tensors will be determined"
        )
    copies = ERA != "11.1" or "includeDataTransfers" in given
    separate = ERA == "11.1" or "separateProfileRun" in given
    h2d, compute, d2h = (
        (0.05, fake_net.MILLISECONDS[engine["precision"]], 0.02) if copies else (0.0, 1.0, 0.0)
    )
    rows = [(h2d, compute * (1 + 0.01 * (i % 10)), d2h) for i in range(max(int(given["iterations"]), 20))]
    if "exportOutput" in given:
        export_output(given, engine, shapes)
    say("=== Performance summary ===")
    if "exportProfile" not in given or separate:
        summary(rows)
        if "exportTimes" in given and not os.environ.get("FAKE_NO_TIMES"):
            export_times(given["exportTimes"], rows)
    if "exportProfile" in given:
        export_profile(given["exportProfile"], engine)
    if "exportLayerInfo" in given:
        with open(given["exportLayerInfo"], "w") as file:
            file.write(fake_net.inspection(engine))
    return 0


def summary(rows):
    say("Timing trace has %d queries over 3.00 s" % len(rows))
    say("Throughput: 1234.5 qps")
    names = [("Latency", [sum(row) for row in rows]), ("Enqueue Time", [0.1] * len(rows))]
    columns = ["H2D Latency", "GPU Compute Time", "D2H Latency"]
    names += [(name, [row[i] for row in rows]) for i, name in enumerate(columns)]
    for name, values in names:
        values = sorted(values)
        middle = values[len(values) // 2]
        text = "%s: min = %g ms, max = %g ms, mean = %g ms, median = %g ms"
        text %= (name, values[0], values[-1], sum(values) / len(values), middle)
        for share in [99] if ERA == "8.4" else [90, 95, 99]:
            text += ", percentile(%d%%) = %g ms" % (share, values[-1])
        say(text)


def export_times(path, rows):
    clock, lines = 0.0, []
    for h2d, compute, d2h in rows:
        a, b, c = clock + h2d, clock + h2d + compute, clock + h2d + compute + d2h
        numbers = (clock, clock, clock, a, a, b, b, c, h2d, compute, d2h, h2d + compute + d2h)
        names = (
            "startEnqMs endEnqMs startH2dMs endH2dMs startComputeMs endComputeMs startD2hMs endD2hMs h2dMs"
        )
        names += " computeMs d2hMs latencyMs"
        lines.append("{ " + ", ".join('"%s" : %g' % pair for pair in zip(names.split(), numbers)) + " }\n")
        clock = c
    with open(path, "w") as file:
        file.write("[\n  " + ", ".join(lines) + "]\n")


def export_profile(path, engine):
    with open(path, "w") as file:
        file.write('[\n  { "count" : 100 }\n')
        for name, ms in fake_net.layer_times(engine):
            line = (
                ', { "name" : "%s", "timeMs" : %g, "averageMs" : %g, "medianMs" : %g, "percentage" : %s }\n'
            )
            file.write(line % (name, ms * 100, ms, ms, "-nan" if ERA == "8.4" else "50"))
        file.write("]\n")


def export_output(given, engine, shapes):
    (name, shape, kind), (out, out_shape, _) = engine["net"]["inputs"][0], engine["net"]["outputs"][0]
    shape = shapes.get(name, shape)
    files = dict(part.rsplit(":", 1) for part in given["loadInputs"].split(","))
    with open(files[name], "rb") as file:
        data = file.read()
    code = {"FLOAT": "f", "HALF": "e", "INT32": "i"}[kind]
    values = struct.unpack("<%d%s" % (len(data) // struct.calcsize(code), code), data)
    size, batch = len(values) // shape[0], shape[0]
    count = 1
    for axis in out_shape[1:]:
        count *= axis
    found = [fake_net.outputs(engine, values[i * size : (i + 1) * size], count) for i in range(batch)]
    with open(given["exportOutput"], "w") as file:
        file.write(
            '[\n  { "name" : "%s"\n  , "dimensions" : "%dx%d"\n  , "values" : [ ' % (out, batch, count)
        )
        file.write(", ".join("%g" % value for part in found for value in part) + " ]\n  }\n]\n")


if __name__ == "__main__":
    time.sleep(0)
    sys.exit(main(sys.argv[1:]))
