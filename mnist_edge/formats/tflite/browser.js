// Opens a .tflite file in LiteRT.js, on one thread.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { shapeOf, toInput, toProbabilities } from "./contract.js";

export const packageName = "@litertjs/core";
// the build without relaxed SIMD: its results do not depend on the processor
const loaded = loadLiteRt("./node_modules/@litertjs/core/wasm/litert_wasm_compat_internal.js");

/** The file's bytes and its contract → pixels → { probabilities, milliseconds of the call }. */
export async function open(bytes, { input, output }) {
  await loaded;
  const model = await loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
  return async (pixels) => {
    const image = new Tensor(toInput(pixels, input), shapeOf(input));
    const start = performance.now();
    const found = await model.run({ [input.name]: image });
    const values = await found[output.name].data();
    const milliseconds = performance.now() - start;
    image.delete(); // LiteRT's memory is not the browser's to collect
    found[output.name].delete();
    return { probabilities: toProbabilities(values, output), milliseconds };
  };
}
