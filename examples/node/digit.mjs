// Says which digit a picture shows: node digit.mjs MODEL.onnx PICTURE.png ...
import { readFileSync } from "node:fs";
import { PNG } from "pngjs";

const [model, ...pictures] = process.argv.slice(2);
const fail = (message) => {
  console.error(message);
  process.exit(1);
};
if (!pictures.length) fail("usage: node digit.mjs MODEL.onnx PICTURE.png ... (28×28 pixels, white on black)");
process.env.ORT_DISABLE_TELEMETRY ??= "1"; // ONNX Runtime 1.29 and newer may report to Microsoft
const { default: ort } = await import("onnxruntime-node"); // after that: an import statement would come before it
const session = await ort.InferenceSession.create(model);

for (const picture of pictures) {
  let png;
  try {
    png = PNG.sync.read(readFileSync(picture)); // four bytes a pixel, whatever the file has
  } catch (error) {
    fail(`${picture} is not a PNG of 28×28 pixels that can be read (${error.message})`);
  }
  const { width, height, data } = png;
  if (width !== 28 || height !== 28) fail(`${picture} is ${width}×${height}, not 28×28`);
  const pixels = Uint8Array.from({ length: 784 }, (_, index) => data[4 * index]); // red: grey has all three alike
  const image = new ort.Tensor("uint8", pixels, [1, 1, 28, 28]);
  const { probabilities } = await session.run({ image });
  const likeliest = Math.max(...probabilities.data);
  console.log(`${picture}: ${probabilities.data.indexOf(likeliest)} (${(100 * likeliest).toFixed(1)} %)`);
}
