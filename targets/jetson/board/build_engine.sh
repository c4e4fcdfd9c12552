#!/bin/sh
# Build and time the engines of this folder with trtexec alone, on boards where Python is missing or older than 3.8.
#
#     sh board/build_engine.sh              fp16 and int8
#     sh board/build_engine.sh int8         one of them
#
# Writes engines/PRECISION.engine and trtexec's own reports beside it: .txt, .times.json, .profile.json, .layers.json.
# TRTEXEC=PATH names the program, WORKSPACE=MIB limits the builder's memory, RUN_SECONDS=N sets the time of a
# measurement (3), DLA=0 names a core of the deep learning accelerator (the GPU takes what it does not; both are listed
# in the .txt as [DlaLayer] and [GpuLayer]), SHAPES=input:1x3x224x224 gives the shapes of a model that leaves them free.
set -eu

say() { printf '%s\n' "build_engine: $*"; }
stop() {
    say "$*" >&2
    exit 2
}

# Where the models are: here, beside this script, or one above it.
script=$(dirname "$0")
for place in . "$script" "$script/.."; do
    if [ -f "$place/model.onnx" ] || [ -f "$place/model_float.onnx" ]; then
        cd "$place" || stop "$place cannot be entered"
        break
    fi
done

find_trtexec() {
    if [ -n "${TRTEXEC:-}" ]; then
        command -v "$TRTEXEC" || stop "TRTEXEC=$TRTEXEC is no program. Name trtexec's path."
        return
    fi
    command -v trtexec && return
    for place in /usr/src/tensorrt/bin/trtexec /opt/tensorrt/bin/trtexec; do
        if [ -x "$place" ]; then
            printf '%s\n' "$place"
            return
        fi
    done
    stop "trtexec is neither on PATH nor in /usr/src/tensorrt/bin. Install it: sudo apt install libnvinfer-bin"
}

trtexec=$(find_trtexec)
help=$("$trtexec" --help 2>&1) || true

# Whether this version of trtexec lists an option.
has() { printf '%s\n' "$help" | grep -q -E "^ *$1([= ]|\$)"; }

if [ -n "${DLA:-}" ] && ! has --useDLACore; then
    stop "DLA=$DLA: this TensorRT does not use DLA. Run without it: on the GPU."
fi
has --onnx || stop "$trtexec lists no option --onnx. Reinstall JetPack's TensorRT."

# The ONNX file of a precision. TensorRT 11 takes precision from the file alone.
model_of() {
    case $1 in
        int8) printf 'model.onnx\n' ;;
        fp16)
            if ! has --fp16 && [ -f model_fp16.onnx ]; then
                printf 'model_fp16.onnx\n'
            elif [ -f model_float.onnx ]; then
                printf 'model_float.onnx\n'
            else
                printf 'model.onnx\n'
            fi
            ;;
        *) stop "the precision '$1' is unknown. Name fp16 or int8." ;;
    esac
}

build() {
    precision=$1 model=$2 partial=engines/.tmp-$$-$1.engine
    set -- "--onnx=$model" "--saveEngine=$partial" --profilingVerbosity=detailed
    if has --fp16; then
        [ "$precision" = fp16 ] || set -- "$@" --int8
        set -- "$@" --fp16
    elif has --stronglyTyped; then
        set -- "$@" --stronglyTyped
    fi
    if has --skipInference; then set -- "$@" --skipInference; else set -- "$@" --buildOnly; fi
    if ! has --memPoolSize; then
        set -- "$@" "--workspace=${WORKSPACE:-512}"
    elif [ -n "${WORKSPACE:-}" ]; then
        set -- "$@" "--memPoolSize=workspace:$WORKSPACE"
    fi
    if [ -n "${SHAPES:-}" ]; then
        set -- "$@" "--minShapes=$SHAPES" "--optShapes=$SHAPES" "--maxShapes=$SHAPES"
    fi
    if [ -n "${DLA:-}" ]; then set -- "$@" "--useDLACore=$DLA" --allowGPUFallback; fi
    say "$precision: building from $model; a small board takes minutes"
    if ! "$trtexec" "$@" >"engines/$precision.txt" 2>&1 || [ ! -s "$partial" ]; then
        stop "$model: the $precision engine cannot be built: $(grep -F '[E]' "engines/$precision.txt" | tail -n 1). All of it is in engines/$precision.txt."
    fi
    rm -f "engines/$precision.json"
    mv "$partial" "engines/$precision.engine"
}

measure() {
    precision=$1
    set -- "--loadEngine=engines/$1.engine" --warmUp=200 "--duration=${RUN_SECONDS:-3}" --iterations=10
    set -- "$@" "--exportTimes=engines/$precision.times.json" "--exportProfile=engines/$precision.profile.json"
    set -- "$@" "--exportLayerInfo=engines/$precision.layers.json"
    if has --noSpinWait; then
        set -- "$@" --includeDataTransfers --noCudaGraph
    else
        set -- "$@" --useSpinWait --separateProfileRun
    fi
    if [ -n "${SHAPES:-}" ]; then set -- "$@" "--shapes=$SHAPES"; fi
    if [ -n "${DLA:-}" ]; then set -- "$@" "--useDLACore=$DLA"; fi
    if ! "$trtexec" "$@" >>"engines/$precision.txt" 2>&1; then
        stop "engines/$precision.engine: it cannot be timed: $(grep -F '[E]' "engines/$precision.txt" | tail -n 1). All of it is in engines/$precision.txt."
    fi
    say "$precision:"
    grep -E 'Throughput: |Latency: min|GPU Compute Time: min' "engines/$precision.txt" | sed 's/^.*\[I\] /    /'
    if [ -n "${DLA:-}" ]; then grep -F '[GpuLayer]' "engines/$precision.txt" | sed 's/^.*\[GpuLayer\]/    on the GPU:/' || true; fi
}

[ $# -gt 0 ] || set -- fp16 int8
mkdir -p engines || stop "the folder engines cannot be made. Make this folder writable."
trap 'rm -f engines/.tmp-$$-*' EXIT
trap 'exit 130' INT TERM HUP
for wanted in "$@"; do
    file=$(model_of "$wanted")
    [ -f "$file" ] || stop "$file is not in $(pwd). Copy the whole folder that edgekit wrote."
    build "$wanted" "$file"
done
for wanted in "$@"; do measure "$wanted"; done
