"""From a torch model or an ONNX file to a fused fp32 ONNX graph whose nodes carry their sites."""
