"""Say which digit a picture shows: python digit_onnx.py MODEL.onnx PICTURE.png ..."""

import os
import sys

import numpy as np
from PIL import Image

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime 1.29 and newer may report to Microsoft
import onnxruntime

if len(sys.argv) < 3:
    sys.exit("usage: python digit_onnx.py MODEL.onnx PICTURE.png ... (28×28 pixels, white on black)")
model, *pictures = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
for picture in pictures:
    try:
        pixels = np.asarray(Image.open(picture).convert("L"))
    except OSError as error:
        sys.exit(f"{picture} is not a picture of 28×28 pixels that can be read ({error})")
    if pixels.shape != (28, 28):
        sys.exit(f"{picture} is {pixels.shape[1]}×{pixels.shape[0]}, not 28×28")
    (probabilities,) = session.run(["probabilities"], {"image": pixels.reshape(1, 1, 28, 28)})
    digit = probabilities[0].argmax()
    print(f"{picture}: {digit} ({100 * probabilities[0, digit]:.1f} %)")
