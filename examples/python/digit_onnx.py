"""Say which digit a picture shows: python digit_onnx.py MODEL.onnx PICTURE.png ..."""

import sys

import numpy as np
import onnxruntime
from PIL import Image

model, *pictures = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
for picture in pictures:
    pixels = np.asarray(Image.open(picture).convert("L"))
    if pixels.shape != (28, 28):
        sys.exit(f"{picture} is {pixels.shape[1]}×{pixels.shape[0]}, not 28×28")
    (probabilities,) = session.run(["probabilities"], {"image": pixels.reshape(1, 1, 28, 28)})
    digit = probabilities[0].argmax()
    print(f"{picture}: {digit} ({100 * probabilities[0, digit]:.1f} %)")
