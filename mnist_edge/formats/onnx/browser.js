// Opens an .onnx file in ONNX Runtime Web, on one thread.

import * as ort from "onnxruntime-web";
import { shapeOf, toInput, toProbabilities } from "./contract.js";

export const packageName = "onnxruntime-web";
ort.env.wasm.numThreads = 1;

/** The file's bytes and its contract → pixels → { probabilities, milliseconds of the call }. */
export async function open(bytes, { input, output }) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return async (pixels) => {
    const image = new ort.Tensor(input.dtype, toInput(pixels, input), shapeOf(input));
    const start = performance.now();
    const found = await session.run({ [input.name]: image });
    const milliseconds = performance.now() - start;
    return { probabilities: toProbabilities(found[output.name].data, output), milliseconds };
  };
}
