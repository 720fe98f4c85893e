/**
 * What of a grey picture is the digit, under uneven light, noise and lines: first the foreground, then its strokes. This is
 * `predict/segmentation.py`, with the same functions in the same order on whole numbers, which gives the same bits;
 * tests/predict/test_picture.py holds it to that.
 */

import { boxOf, components, count, cut, extreme, grid, inverted, longerOf, map, meanAround, measured, outline, runs, transposed } from "./raster.js";

const SIDE = 256; // a picture is reduced to this first
const LEAST_CONTRAST = 40; // of 255, between foreground and background
const STEEP = 19; // of 64 columns a row: how far from upright a line is taken for one
const NOTHING = "no digit found: nothing stands out from the background, or it is very small.";
const NOT_ONE = "no digit found: nothing that stands out could be one digit.";
const SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit.";
const TOO_SMALL = "no digit found: what stands out is too small to read.";
const LARGE = 64; // the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
const WINDING = 12; // a digit's outline is at most this many times its longer side; a texture's is longer
const BUSY = 6; // the same for all that stands out, and the picture
const PARTS = 4; // strokes that do not touch

/** The foreground of the one digit in a grey picture: 0 background to 255 stroke, cut to the digit's box. */
export function digitForeground(picture) {
  const grey = reduced(picture);
  let smooth = grey;
  let found;
  for (const radius of Math.max(grey.height, grey.width) >= LARGE ? [1, 2, 3] : [0]) {
    smooth = meanAround(smooth, radius);
    found = standingOut(grey, smooth);
    if (!isBusy(found.foreground)) break; // else smooth more: it may be noise
  }
  const digit = oneDigit(found.foreground, found.top);
  if (Math.max(grey.height, grey.width) >= LARGE && isSoft(found.sharp, digit)) throw new NoDigit(NOT_ONE);
  const near = extreme(digit, 1, Math.max);
  return cut(map(found.sharp, (value, i) => (near.at[i] ? value : 0)), boxOf(digit));
}

/** The sharp foreground, the smooth one without lines, and the darkest level of the smooth one. */
function standingOut(grey, smooth) {
  const side = Math.max(grey.height, grey.width);
  if (isLightOnDark(smooth)) [grey, smooth] = [inverted(grey), inverted(smooth)];
  let [background, depth, foreground] = contrast(smooth);
  if (borderShare(foreground) * 4 > 1) {
    const other = contrast(inverted(smooth)); // a digit that fills its picture: what seemed background may be the stroke
    if (borderShare(other[2]) < borderShare(foreground)) {
      grey = inverted(grey);
      [background, depth, foreground] = other;
    }
  }
  if (side >= LARGE) {
    const level = Math.floor((darkest(foreground) + 1) / 2);
    const bad = blobs(map(depth, (value) => +(value >= level)));
    foreground = map(foreground, (value, i) => (bad.at[i] ? 0 : value));
  }
  let top = darkest(foreground);
  if (side >= LARGE && top >= LEAST_CONTRAST) {
    foreground = withoutLines(clear(foreground, top));
    top = darkest(foreground); // the lines may have been darker than a pencil
  }
  if (top < LEAST_CONTRAST) throw new NoDigit(NOTHING);
  foreground = clear(foreground, top);
  const sharp = map(grey, (value, i) => {
    const share = Math.floor(((background.at[i] - value) * 255) / Math.max(background.at[i], 64));
    return Math.floor((Math.min(Math.max(share, 0), top) * 255) / top);
  });
  return { sharp, foreground, top };
}

/** Without what is a good deal fainter than the darkest. */
function clear(foreground, top) {
  return map(foreground, (value) => (value >= Math.floor((top + 3) / 4) ? value : 0));
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

/** The background's level, how much darker than it each pixel is (0 to 255), and the same for strokes alone. */
function contrast(grey) {
  const side = Math.max(grey.height, grey.width);
  const radius = Math.max(1, Math.floor(side / 6));
  const background = extreme(extreme(grey, radius, Math.max), radius, Math.min);
  const depth = map(grey, (value, i) => Math.floor(((background.at[i] - value) * 255) / Math.max(background.at[i], 64)));
  const around = meanAround(grey, Math.max(2, Math.floor(side / 8)));
  return [background, depth, map(depth, (value, i) => (grey.at[i] * 12 < around.at[i] * 11 ? value : 0))];
}

/** Share of the border's pixels that hold at least half of the darkest foreground. */
function borderShare(foreground) {
  const { height, width, at } = foreground;
  const least = Math.max(1, darkest(foreground));
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

/** Take out the lines of ruled paper and what is left where they cross. */
function withoutLines(background) {
  let foreground = background; // where two lines lie side by side, once is not enough
  for (let round = 0; round < 2; round++) foreground = transposed(withoutUprightLines(transposed(withoutUprightLines(foreground))));
  if (foreground.at.every((value, i) => value === background.at[i])) return foreground;
  const label = components(foreground);
  const side = Math.max(foreground.height, foreground.width);
  const small = measured(label, () => {}).map(({ box }) => longerOf(box) * 32 <= side);
  return map(foreground, (value, i) => (label.at[i] && small[label.at[i]] ? 0 : value));
}

/** Take out what is thin and straight from the top to the bottom with few gaps, up to 16° from upright. */
function withoutUprightLines(foreground) {
  const { height, width } = foreground;
  const thin = runs(foreground).filter(([, start, end]) => end - start <= Math.floor(Math.max(height, width) / 32));
  const slopes = Array.from({ length: 2 * STEEP + 1 }, (_, i) => i - STEEP);
  const place = ([row, start, end], slope) =>
    Math.floor((start + end + 2 * height + Math.floor((row * slope) / 32)) / 4) + 1 + (width + 2 * height) * (slope + STEEP);
  const line = isLine(thin.flatMap((run) => slopes.map((slope) => [run[0], place(run, slope)])), height, width);
  const straight = thin.filter((run) => slopes.some((slope) => line[place(run, slope)]));
  const length = ([, start, end]) => end - start;
  const level = ([row, start, end]) => foreground.at[row * width + Math.floor((start + end) / 2)];
  const middle = (value) => straight.map(value).sort((a, b) => a - b)[Math.floor(straight.length / 2)];
  const [long, dark] = [middle(length), middle(level)];
  const at = foreground.at.slice();
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

/** A picture that shows no digit; the message is the one that `mnist-edge predict` gives. */
export class NoDigit extends Error {}

/** Whether what stands out has more outline than a digit's. */
function isBusy(foreground) {
  return count(outline(foreground)) > BUSY * Math.max(foreground.height, foreground.width);
}

/** Choose the components that make the digit: the heaviest, and what of some weight is near it. */
function oneDigit(foreground, top) {
  const side = Math.max(foreground.height, foreground.width);
  if (isBusy(foreground)) throw new NoDigit(NOT_ONE);
  const label = components(foreground);
  const things = measured(label, (thing, i) => {
    thing.mass += foreground.at[i];
    thing.strong ||= foreground.at[i] * 2 >= top;
  }).map((thing) => ({ ...thing, mass: thing.strong ? thing.mass : 0 }));
  const total = things.reduce((sum, { mass }) => sum + mass, 0);
  if (total === 0) throw new NoDigit(NOTHING);
  const main = things.reduce((best, thing) => (thing.mass > best.mass ? thing : best));
  const heavy = things.filter(({ mass }) => mass * 30 > main.mass);
  if (heavy.some(({ box, mass }) => mass * 5 > main.mass && isBeside(main.box, box))) throw new NoDigit(SEVERAL);
  const chosen = new Set([main]);
  let box = main.box;
  for (;;) {
    const near = heavy.filter((thing) => {
      const gap = Math.max(...thing.box.map((end, i) => end + box[(i + 2) % 4]));
      const reach = longerOf(main.box) * (thing.mass * 5 < main.mass ? 1 : 2);
      return !chosen.has(thing) && gap * 6 <= reach;
    });
    if (near.length === 0) break;
    for (const thing of near) chosen.add(thing);
    box = box.map((end, i) => Math.min(end, ...near.map((thing) => thing.box[i])));
  }
  const kept = things.map((thing) => +chosen.has(thing));
  const digit = map(label, (number) => (number ? kept[number] : 0));
  const mass = [...chosen].reduce((sum, thing) => sum + thing.mass, 0);
  if (chosen.size > PARTS || mass * 2 < total) throw new NoDigit(NOT_ONE);
  if (count(outline(digit)) > WINDING * longerOf(box)) throw new NoDigit(NOT_ONE);
  if (longerOf(box) * 16 < side) throw new NoDigit(TOO_SMALL);
  if (side >= LARGE && isDash(box, foreground)) throw new NoDigit(NOT_ONE);
  return digit;
}

/** Whether another box is of some height and has few columns in common with the first: parts of one digit do not. */
function isBeside(box, other) {
  const [height, width] = [0, 1].map((end) => 1 - other[end] - other[2 + end]);
  const common = 1 - Math.max(other[1] + box[3], box[1] + other[3]);
  return height * 5 > (1 - box[0] - box[2]) * 3 && common * 4 < Math.min(width, 1 - box[1] - box[3]);
}

/** Whether a box is too wide for a digit, or a line's that the border cuts off. */
function isDash(box, picture) {
  const [height, width] = [0, 1].map((end) => 1 - box[end] - box[2 + end]);
  const cutOff = box[0] === 0 || box[1] === 0 || -box[2] === picture.height - 1 || -box[3] === picture.width - 1;
  return width > 2 * height || (cutOff && height > 6 * width && width * 32 <= Math.max(picture.height, picture.width));
}

/** Whether much foreground lies close around the digit: a stroke has an edge, light and shadow fade. */
function isSoft(foreground, digit) {
  const [near, wide] = [1, 3].map((radius) => extreme(digit, radius, Math.max));
  const around = map(wide, (value, i) => value - near.at[i]);
  const sum = (mask) => foreground.at.reduce((total, value, i) => total + (mask.at[i] ? value : 0), 0);
  return sum(around) * count(digit) * 3 > sum(digit) * count(around);
}
