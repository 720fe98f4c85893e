"""The runtimes that `benchmarks/runtimes.py` puts beside ours, one module each, in an environment of their own.

A module has `RUNTIME` (its name in the table), `PACKAGES` (what pip installs), `ROUTES` and `open_call`. A route, named
by its precision, writes the files of a network into a folder and returns them, the one to open first. `open_call` opens
it and returns the call of an app: uint8 `[28, 28]` in, float32 `[10]` out, one thread.
"""

PEERS = ("litert", "onnx_runtime", "edge_quantizer", "openvino_cpu", "ncnn_net", "mnn_session", "iree_vm")
