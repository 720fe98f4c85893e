"""Say which digit a picture shows: python digit_tflite.py MODEL.tflite PICTURE.png ..."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

if len(sys.argv) < 3:
    sys.exit("usage: python digit_tflite.py MODEL.tflite PICTURE.png ... (28×28 pixels, white on black)")
model, *pictures = sys.argv[1:]
classify = Interpreter(model).get_signature_runner()
for picture in pictures:
    try:
        pixels = np.asarray(Image.open(picture).convert("L"))
    except OSError as error:
        sys.exit(f"{picture} is not a picture of 28×28 pixels that can be read ({error})")
    if pixels.shape != (28, 28):
        sys.exit(f"{picture} is {pixels.shape[1]}×{pixels.shape[0]}, not 28×28")
    probabilities = classify(image=pixels.reshape(1, 28, 28, 1))["probabilities"]
    digit = probabilities[0].argmax()
    print(f"{picture}: {digit} ({100 * probabilities[0, digit]:.1f} %)")
