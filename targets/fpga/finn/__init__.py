"""FINN for the FPGA target: its own environment, the build folder, the estimate, the report and the search."""
