/**
 * Ink and paper: what of a grey picture is the digit, under uneven light, noise and lines. This is `ink.py`, with the
 * same functions in the same order on whole numbers, which gives the same bits; tests/test_preprocess.py holds it to that.
 */

import { boxOf, count, cut, grid, inverted, longerOf, map, measured, transposed } from "./grid.js";

const NOTHING = "no digit found: nothing stands out from the background.";
const NOT_ONE = "no digit found: nothing that stands out could be one digit.";
const TOO_SMALL = "no digit found: what stands out is too small to read.";
const SIDE = 256; // a picture is reduced to this first
const LEAST_CONTRAST = 30; // of 255, between ink and paper
const LARGE = 64; // the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
const WINDING = 12; // a digit's outline is at most this many times its longer side; a texture's is longer
const BUSY = 6; // the same for all that stands out, and the picture

const half = (level) => Math.floor((level + 1) / 2);

/** A picture that shows no digit; the message is the one that `mnist-edge predict` gives. */
export class NoDigit extends Error {}

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
  const digit = oneDigit(found.ink, found.strong);
  const near = extreme(digit, 1, Math.max);
  return cut(map(found.sharp, (value, i) => (near.at[i] ? value : 0)), boxOf(digit));
}

/** The ink of the grey and of the smoothed picture, this without paper and lines, and its level that is sure. */
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
    const level = half(darkest(ink));
    const bad = blobs(map(depth, (value) => +(value >= level)));
    ink = map(ink, (value, i) => (bad.at[i] ? 0 : value));
  }
  const top = darkest(ink);
  if (top < LEAST_CONTRAST) throw new NoDigit(NOTHING);
  ink = map(ink, (value) => (value >= Math.floor((top + 3) / 4) ? value : 0));
  if (side >= LARGE) ink = transposed(withoutLines(transposed(withoutLines(ink))));
  const sharp = map(grey, (value, i) => {
    const share = Math.floor(((paper.at[i] - value) * 255) / Math.max(paper.at[i], 64));
    return Math.floor((Math.min(Math.max(share, 0), top) * 255) / top);
  });
  return { sharp, ink, strong: half(top) };
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

/** Mean over the square of this radius, which shrinks to a quarter towards the border to stay symmetric. */
function meanAround({ height, width, at }, radius) {
  const sums = new Float64Array((height + 1) * (width + 1));
  for (let y = 0; y < height; y++) {
    let row = 0;
    for (let x = 0; x < width; x++) {
      row += at[y * width + x];
      sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
    }
  }
  const ends = (side) =>
    Array.from({ length: side }, (_, place) => {
      const least = Math.max(1, Math.floor(radius / 4));
      const reach = Math.min(radius, Math.max(Math.min(place, side - 1 - place), least));
      return [Math.max(place - reach, 0), Math.min(place + reach + 1, side)];
    });
  const [rows, columns] = [ends(height), ends(width)];
  return grid(height, width, (y, x) => {
    const [top, bottom] = [rows[y][0] * (width + 1), rows[y][1] * (width + 1)];
    const [left, right] = columns[x];
    const count = (rows[y][1] - rows[y][0]) * (right - left);
    const sum = sums[bottom + right] - sums[bottom + left] - sums[top + right] + sums[top + left];
    return Math.floor((sum + Math.floor(count / 2)) / count);
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

/** The maximum or minimum (`pick`) over the square of this radius, as far as it lies inside. */
export function extreme({ height, width, at }, radius, pick, axes = [0, 1]) {
  for (const axis of axes) {
    const [side, step, lines, jump] = axis ? [width, 1, height, width] : [height, width, width, 1];
    const found = new Float64Array(at.length);
    const line = new Float64Array(side + 2 * radius);
    for (let number = 0; number < lines; number++) {
      for (let i = 0; i < line.length; i++) {
        line[i] = at[number * jump + Math.min(Math.max(i - radius, 0), side - 1) * step];
      }
      for (let covered = 1; covered < 2 * radius + 1; ) {
        const more = Math.min(covered, 2 * radius + 1 - covered);
        for (let i = 0; i + more < line.length; i++) {
          const ahead = line[i + more];
          if (pick === Math.max ? ahead > line[i] : ahead < line[i]) line[i] = ahead; // ten times as fast as calling it
        }
        covered += more;
      }
      for (let i = 0; i < side; i++) found[number * jump + i * step] = line[i];
    }
    at = found;
  }
  return { height, width, at };
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

/** The pixels of a mask that have one outside beside them, above or below; beyond the border is outside. */
export function outline({ height, width, at }) {
  return grid(height, width, (y, x) => {
    const i = y * width + x;
    const inner = y > 0 && y < height - 1 && x > 0 && x < width - 1 && at[i - width] && at[i + width];
    return +(at[i] && !(inner && at[i - 1] && at[i + 1]));
  });
}

/** Take out what is thin and straight through most of the picture's height, up to 16° from upright. */
function withoutLines(ink) {
  const { height, width } = ink;
  const thin = runs(ink).filter(([, start, end]) => end - start <= Math.floor(Math.max(height, width) / 32));
  const slopes = Array.from({ length: 39 }, (_, i) => i - 19);
  const place = ([row, start, end], slope) =>
    Math.floor((start + end + 2 * height + Math.floor((row * slope) / 32)) / 4) + 1 + (width + 2 * height) * (slope + 19);
  const counts = new Float64Array((width + 2 * height) * 39 + 2);
  for (const run of thin) for (const slope of slopes) counts[place(run, slope)] += 1;
  const crowded = (i) => (counts[i - 1] + counts[i] + counts[i + 1]) * 10 >= height * 6;
  const straight = thin.filter((run) => slopes.some((slope) => crowded(place(run, slope))));
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

/** Unbroken runs in rows, in reading order: the row, the first column, the column after the last. */
function runs({ height, width, at }) {
  const found = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!at[y * width + x]) continue;
      const start = x;
      while (x < width && at[y * width + x]) x += 1;
      found.push([y, start, x]);
    }
  }
  return found;
}

/** Number what touches, diagonally too: 0 outside, from 1 in reading order of the first pixel. */
function components({ height, width, at }) {
  const label = new Float64Array(at.length);
  let number = 0;
  for (let first = 0; first < at.length; first++) {
    if (!at[first] || label[first]) continue;
    label[first] = number += 1;
    for (const stack = [first]; stack.length; ) {
      const i = stack.pop();
      const [y, x] = [Math.floor(i / width), i % width];
      for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, height - 1); ny++) {
        for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, width - 1); nx++) {
          const next = ny * width + nx;
          if (!at[next] || label[next]) continue;
          label[next] = number;
          stack.push(next);
        }
      }
    }
  }
  return { height, width, at: label };
}

/** Whether what stands out has more outline than a digit's. */
function isBusy(ink) {
  return count(outline(ink)) > BUSY * Math.max(ink.height, ink.width);
}

/** Choose the components that make the digit: the heaviest, and what of some weight is near it. */
function oneDigit(ink, strong) {
  const side = Math.max(ink.height, ink.width);
  if (isBusy(ink)) throw new NoDigit(NOT_ONE);
  const label = components(ink);
  const things = measured(label, (thing, i) => {
    thing.mass += ink.at[i];
    thing.strong ||= ink.at[i] >= strong;
  }).map((thing) => ({ ...thing, mass: thing.strong ? thing.mass : 0 }));
  const total = things.reduce((sum, { mass }) => sum + mass, 0);
  if (total === 0) throw new NoDigit(NOTHING);
  const main = things.reduce((best, thing) => (thing.mass > best.mass ? thing : best));
  const heavy = things.filter(({ mass }) => mass * 30 > main.mass);
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
  if (count(outline(digit)) > WINDING * longerOf(box) || mass * 2 < total) throw new NoDigit(NOT_ONE);
  if (longerOf(box) * 16 < side) throw new NoDigit(TOO_SMALL);
  return digit;
}
