"""What is copied to a Jetson beside the model and run there: Python 3.8 and the board's own TensorRT, no edgekit."""
