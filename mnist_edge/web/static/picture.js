/**
 * Any grey picture of one digit → a 28×28 one like MNIST's. This is `predict/picture.py`, with the same functions in the same
 * order; `segmentation.js` finds the digit. No dependencies; for browsers and for Node 18 or newer.
 */

import { boxOf, count, cut, extreme, grid, largest, map, meanAround, outline, padded, runs, transposed } from "./raster.js";
import { NOT_ONE, NoDigit, digitForeground } from "./segmentation.js";

export { NoDigit };

const BOX = 20;
const FIELD = 28;
const FINE = 8; // pens are made usual at this many times MNIST's resolution
const THIN = 12; // the usual width of strokes, in those pixels
const THICK = 20;
const WINDING = 17; // a digit's outline is at most half as many times its longer side; a texture's is longer
const EVEN = 5; // radius over which a boxed digit's noise is evened out
const STROKES = 5; // more lie side by side in no large part of a digit
const FAINT = 64; // foreground under this is outside the box

/**
 * The grey that `predict/picture.py` sees of a canvas: Pillow's weights, and transparency laid on what strokes stand out from.
 *
 * @param {Uint8ClampedArray} rgba 4 × width × height, as `getImageData(…).data` gives it
 * @returns {Uint8Array} width × height
 */
export function greyOf(rgba, width, height) {
  const grey = new Uint8Array(width * height);
  let opaque = 0;
  let brightness = 0;
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (rgba[4 * i] * 19595 + rgba[4 * i + 1] * 38470 + rgba[4 * i + 2] * 7471 + 0x8000) >> 16;
    if (rgba[4 * i + 3] > 127) {
      opaque += 1;
      brightness += grey[i];
    }
  }
  const background = brightness > 127 * opaque ? 0 : 255;
  return grey.map((value, i) => {
    const sum = value * rgba[4 * i + 3] + background * (255 - rgba[4 * i + 3]) + 128;
    return ((sum >> 8) + sum) >> 8;
  });
}

/**
 * Turn a grey picture, dark on light or light on dark, into 28 × 28 pixels as MNIST has them.
 *
 * @param {Uint8Array} grey width × height, 0 black to 255 white
 * @returns {Uint8Array} 784
 * @throws {NoDigit} there is no foreground that stands out from the background, or none that could be one digit
 */
export function mnistLike(grey, width, height) {
  if (!(width > 0 && height > 0) || grey.length !== width * height) {
    throw new RangeError(`${grey.length} grey pixels are not ${width} × ${height}.`);
  }
  const digit = boxed(digitForeground({ height, width, at: grey }));
  if (!isDrawn(digit)) throw new NoDigit(NOT_ONE);
  return centred(boxed(withUsualPen(digit)));
}

/** Average areas so that the longer side is BOX at the fine resolution, keeping proportions; the darkest is 255. */
function boxed(digit) {
  const { height, width } = digit;
  const side = Math.max(height, width);
  const [rows, columns] = [height, width].map((length) =>
    Math.max(1, Math.floor((2 * length * BOX * FINE + side) / (2 * side))),
  );
  const area = height * width;
  const sums = transposed(averaged(transposed(averaged(digit, rows)), columns));
  const scaled = map(sums, (sum) => Math.floor((sum + Math.floor(area / 2)) / area));
  const most = largest(scaled);
  return map(scaled, (value) => Math.floor((value * 255) / most));
}

/** `count` rows, each the sum of what it covers of the old ones, in units of 1 / `count` of a row. */
function averaged({ height, width, at }, count) {
  const sums = new Float64Array((height + 1) * width);
  for (let i = 0; i < at.length; i++) sums[i + width] = sums[i] + at[i];
  const until = (y, x) => {
    const whole = Math.floor((y * height) / count);
    const part = (y * height) % count;
    return sums[whole * width + x] * count + (part ? at[whole * width + x] * part : 0);
  };
  return grid(count, width, (y, x) => until(y + 1, x) - until(y, x));
}

/** Whether a boxed digit has no more area, outline and strokes side by side than digits have. */
function isDrawn(digit) {
  const solid = map(meanAround(digit, EVEN), (value) => +(value >= 128)); // noise makes a digit ragged too
  const side = BOX * FINE;
  const many = [solid, transposed(solid)].map((mask) => {
    const strokes = new Float64Array(mask.height);
    for (const [row] of runs(mask)) strokes[row] += 1;
    return strokes.filter((number) => number >= STROKES).length * 5 > 2 * mask.height;
  });
  return count(solid) * 3 <= 2 * side * side && count(outline(solid)) * 2 <= WINDING * side && !many[0] && !many[1];
}

/** Make strokes wider or narrower where their mean width is outside what is usual in MNIST. */
function withUsualPen(digit) {
  const solid = map(digit, (value) => +(value >= 128));
  const [area, edge] = [count(solid), count(outline(solid))];
  const wider = Math.floor((THIN * edge - 2 * area + edge) / (2 * edge));
  const narrower = Math.floor((2 * area - THICK * edge + edge) / (2 * edge));
  const [steps, pick] = wider > 0 ? [wider, Math.max] : [Math.max(narrower, 0), Math.min];
  digit = padded(digit, steps + 1);
  for (let step = 0; step < steps; step++) {
    if (step % 2) {
      digit = extreme(digit, 1, pick);
    } else {
      const across = extreme(digit, 1, pick, [1]);
      digit = map(extreme(digit, 1, pick, [0]), (value, i) => pick(value, across.at[i]));
    }
  }
  return cut(digit, boxOf(map(digit, (value) => +(value >= FAINT))));
}

/** Place the digit so that its centre of mass is the field's centre, as far as it stays inside; then average. */
function centred({ height, width, at }) {
  const side = FIELD * FINE;
  let [mass, down, across] = [0, 0, 0];
  at.forEach((value, i) => {
    mass += value;
    down += value * Math.floor(i / width);
    across += value * (i % width);
  });
  const corner = (moment, length) =>
    Math.min(Math.max(Math.floor((Math.floor((side * mass) / 2) - moment) / mass), 0), side - length);
  const [top, left] = [corner(down, height), corner(across, width)];
  const blocks = new Float64Array(FIELD * FIELD);
  at.forEach((value, i) => {
    const y = Math.floor((top + Math.floor(i / width)) / FINE);
    blocks[y * FIELD + Math.floor((left + (i % width)) / FINE)] += value;
  });
  const most = Math.max(...blocks);
  return Uint8Array.from(blocks, (value) => Math.floor((value * 255) / most));
}
