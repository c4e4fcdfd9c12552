"""A second reader of QONNX files: hls4ml's bit-accurate C++ model, which g++ builds and no Vivado is needed for."""
