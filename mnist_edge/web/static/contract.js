// Between pixels and a file's tensors: everything here comes from the contract in files.json.

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

/** Uint8Array(784), 0 black to 255 white → what the file takes. NCHW and NHWC are the same bytes with one channel. */
export function toInput(pixels, { dtype, scale, zero_point: zero }) {
  const Numbers = ARRAYS[dtype];
  if (scale !== null) return Numbers.from(pixels, (pixel) => Math.round(pixel / 255 / scale) + zero);
  return dtype === "float32" ? Numbers.from(pixels, (pixel) => pixel / 255) : Numbers.from(pixels);
}

/** What the file gives → Float32Array(10) of probabilities. */
export function toProbabilities(values, { scale, zero_point: zero }) {
  return Float32Array.from(values, (value) => (scale === null ? value : (value - zero) * scale));
}

/** The shape of one call: a free batch is 1. */
export const shapeOf = (tensor) => tensor.shape.map((size) => size ?? 1);

/** Whether probabilities reach the file's threshold; below it, an image shows no digit. */
export const isKnown = (shares, { threshold }) => threshold === null || Math.max(...shares) >= threshold;

export const UNKNOWN = "no digit found: what stands out looks like none of the ten digits.";
