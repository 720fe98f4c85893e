/**
 * Ink and paper: what of a grey picture is the digit, under uneven light, noise and lines. This is `ink.py`, with the
 * same functions in the same order on whole numbers, which gives the same bits; tests/test_preprocess.py holds it to that.
 */

import { LARGE, NOTHING, NOT_ONE, NoDigit, isBusy, isSoft, oneDigit } from "./digit.js";
import { boxOf, components, cut, extreme, grid, inverted, longerOf, map, meanAround, measured, outline, runs, transposed } from "./grid.js";

const SIDE = 256; // a picture is reduced to this first
const LEAST_CONTRAST = 40; // of 255, between ink and paper
const STEEP = 19; // of 64 columns a row: how far from upright a line is taken for one

/** The ink of the one digit in a grey picture: 0 paper to 255 ink, cut to the digit's box. */
export function digitInk(picture) {
  const grey = reduced(picture);
  let smooth = grey;
  let found;
  for (const radius of Math.max(grey.height, grey.width) >= LARGE ? [1, 2, 3] : [0]) {
    smooth = meanAround(smooth, radius);
    found = standingOut(grey, smooth);
    if (!isBusy(found.ink)) break; // else smooth more: it may be noise
  }
  const digit = oneDigit(found.ink, found.top);
  if (Math.max(grey.height, grey.width) >= LARGE && isSoft(found.sharp, digit)) throw new NoDigit(NOT_ONE);
  const near = extreme(digit, 1, Math.max);
  return cut(map(found.sharp, (value, i) => (near.at[i] ? value : 0)), boxOf(digit));
}

/** The ink of the grey and of the smoothed picture, this without paper and lines, and the darkest of that. */
function standingOut(grey, smooth) {
  const side = Math.max(grey.height, grey.width);
  if (isLightOnDark(smooth)) [grey, smooth] = [inverted(grey), inverted(smooth)];
  let [paper, depth, ink] = contrast(smooth);
  if (borderShare(ink) * 4 > 1) {
    const other = contrast(inverted(smooth)); // a digit that fills its picture: what seemed paper may be the stroke
    if (borderShare(other[2]) < borderShare(ink)) {
      grey = inverted(grey);
      [paper, depth, ink] = other;
    }
  }
  if (side >= LARGE) {
    const level = Math.floor((darkest(ink) + 1) / 2);
    const bad = blobs(map(depth, (value) => +(value >= level)));
    ink = map(ink, (value, i) => (bad.at[i] ? 0 : value));
  }
  let top = darkest(ink);
  if (side >= LARGE && top >= LEAST_CONTRAST) {
    ink = withoutLines(clear(ink, top));
    top = darkest(ink); // the lines may have been darker than a pencil
  }
  if (top < LEAST_CONTRAST) throw new NoDigit(NOTHING);
  ink = clear(ink, top);
  const sharp = map(grey, (value, i) => {
    const share = Math.floor(((paper.at[i] - value) * 255) / Math.max(paper.at[i], 64));
    return Math.floor((Math.min(Math.max(share, 0), top) * 255) / top);
  });
  return { sharp, ink, top };
}

/** Without what is a good deal fainter than the darkest. */
function clear(ink, top) {
  return map(ink, (value) => (value >= Math.floor((top + 3) / 4) ? value : 0));
}

/** Average blocks so that the longer side is at most SIDE; the last row and column are repeated to fill a block. */
function reduced({ height, width, at }) {
  const by = Math.ceil(Math.max(height, width) / SIDE);
  return grid(Math.ceil(height / by), Math.ceil(width / by), (y, x) => {
    let sum = 0;
    for (let dy = 0; dy < by; dy++) {
      const row = Math.min(y * by + dy, height - 1) * width;
      for (let dx = 0; dx < by; dx++) sum += at[row + Math.min(x * by + dx, width - 1)];
    }
    return Math.floor((sum + Math.floor((by * by) / 2)) / (by * by));
  });
}

/** Whether the few pixels that stand far out from their surroundings are the light ones. */
function isLightOnDark(grey) {
  const around = meanAround(grey, Math.floor(Math.max(grey.height, grey.width) / 4));
  return grey.at.reduce((sum, value, i) => sum + (value - around.at[i]) ** 3, 0) > 0;
}

/** The paper's level, how much darker than it each pixel is (0 to 255), and the same for strokes alone. */
function contrast(grey) {
  const side = Math.max(grey.height, grey.width);
  const radius = Math.max(1, Math.floor(side / 6));
  const paper = extreme(extreme(grey, radius, Math.max), radius, Math.min);
  const depth = map(grey, (value, i) => Math.floor(((paper.at[i] - value) * 255) / Math.max(paper.at[i], 64)));
  const around = meanAround(grey, Math.max(2, Math.floor(side / 8)));
  return [paper, depth, map(depth, (value, i) => (grey.at[i] * 12 < around.at[i] * 11 ? value : 0))];
}

/** Share of the border's pixels that hold at least half of the darkest ink. */
function borderShare(ink) {
  const { height, width, at } = ink;
  const least = Math.max(1, darkest(ink));
  const dark = (i) => +(at[i] * 2 >= least);
  let count = 0;
  for (let x = 0; x < width; x++) count += dark(x) + dark((height - 1) * width + x);
  for (let y = 0; y < height; y++) count += dark(y * width) + dark((y + 1) * width - 1);
  return count / (2 * (width + height));
}

/** The level that the darkest five hundredth of a picture reaches. */
function darkest({ at }) {
  const histogram = new Float64Array(256);
  for (const value of at) histogram[value] += 1;
  const least = Math.max(1, Math.floor(at.length / 500));
  let level = 255;
  for (let above = histogram[255]; above < least; above += histogram[level]) level -= 1;
  return level;
}

/** Find what is too compact for a stroke or cut off by the border: shadows, fingers, the table's edge. */
function blobs(mask) {
  const { height, width } = mask;
  const label = components(mask);
  const rim = outline(mask);
  const things = measured(label, (thing, i, y, x) => {
    thing.area += 1;
    thing.edge += rim.at[i];
    thing.touching += (x === 0) + (x === width - 1) + (y === 0) + (y === height - 1);
  });
  const bad = things.map(({ area, edge, touching, box }) => {
    if (area <= Math.floor(label.at.length / 500)) return 0;
    const cutOff = touching * 10 > edge && longerOf(box) * 4 < Math.max(height, width) * 3;
    return +(cutOff || area * 80 > (touching * 10 > edge ? 11 : 16) * longerOf(box) * edge);
  });
  return extreme(map(label, (number) => bad[number] ?? 0), 2, Math.max);
}

/** Take out lines of a paper and what is left where they cross. */
function withoutLines(paper) {
  let ink = paper; // where two lines lie side by side, once is not enough
  for (let round = 0; round < 2; round++) ink = transposed(withoutUprightLines(transposed(withoutUprightLines(ink))));
  if (ink.at.every((value, i) => value === paper.at[i])) return ink;
  const label = components(ink);
  const side = Math.max(ink.height, ink.width);
  const small = measured(label, () => {}).map(({ box }) => longerOf(box) * 32 <= side);
  return map(ink, (value, i) => (label.at[i] && small[label.at[i]] ? 0 : value));
}

/** Take out what is thin and straight from the top to the bottom with few gaps, up to 16° from upright. */
function withoutUprightLines(ink) {
  const { height, width } = ink;
  const thin = runs(ink).filter(([, start, end]) => end - start <= Math.floor(Math.max(height, width) / 32));
  const slopes = Array.from({ length: 2 * STEEP + 1 }, (_, i) => i - STEEP);
  const place = ([row, start, end], slope) =>
    Math.floor((start + end + 2 * height + Math.floor((row * slope) / 32)) / 4) + 1 + (width + 2 * height) * (slope + STEEP);
  const line = isLine(thin.flatMap((run) => slopes.map((slope) => [run[0], place(run, slope)])), height, width);
  const straight = thin.filter((run) => slopes.some((slope) => line[place(run, slope)]));
  const length = ([, start, end]) => end - start;
  const level = ([row, start, end]) => ink.at[row * width + Math.floor((start + end) / 2)];
  const middle = (value) => straight.map(value).sort((a, b) => a - b)[Math.floor(straight.length / 2)];
  const [long, dark] = [middle(length), middle(level)];
  const at = ink.at.slice();
  for (const run of straight) {
    const [row, start, end] = run; // longer or darker ones are where a stroke crosses, or lies on the line
    if (length(run) <= long + 1 && level(run) * 2 <= dark * 3) at.fill(0, row * width + start, row * width + end);
  }
  return { height, width, at };
}

/** Of each place, at all slopes, whether a line goes through the picture there: at both ends too; no stroke does. */
function isLine(places, height, width) {
  const stride = width + 2 * height;
  const line = new Uint8Array(stride * (2 * STEEP + 1) + 2).fill(1);
  const top = (i) => 2 * ((i % stride) - 1) - height; // the column in row 0
  const bottom = (i) => top(i) - Math.floor(((Math.floor(i / stride) - STEEP) * height) / 64);
  const band = Math.floor(height / 12) + 1;
  for (const [rows, first, column] of [[height, 0], [band, 0, top], [band, height - band, bottom]]) {
    const counts = new Float64Array(line.length);
    for (const [row, place] of places) if (row >= first && row < first + rows) counts[place] += 1;
    for (let i = 0; i < line.length; i++) {
      const leftByTheSide = column && (column(i) < 4 || column(i) >= width - 4);
      const near = (counts[i - 1] ?? 0) + counts[i] + (counts[i + 1] ?? 0);
      if (near * 10 < rows * 6 && !leftByTheSide) line[i] = 0;
    }
  }
  return line;
}
