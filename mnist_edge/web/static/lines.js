/** Takes the lines of ruled paper and of boxes out of a foreground. This is `predict/lines.py`, with the same functions. */

import { components, extreme, longerOf, map, measured, rows, runs, transposed } from "./raster.js";

const THIN = 32; // a line's width is at most this share of the picture's longer side
const THICK = 18; // the same near the border
const OUTER = 5; // the share of a picture that is near the border
const STEEP = 19; // of 64 columns a row: how far from upright a line is taken for one

/** The foreground without the lines of ruled paper or of a box, and what is left where they cross. */
export function withoutLines(foreground) {
  let background = foreground;
  for (let round = 0; round < 4; round++) { // upright and level; then again, where two lie side by side or end at another
    [foreground, background] = [transposed(withoutUprightLines(foreground, background)), transposed(background)];
  }
  if (foreground.at.every((value, i) => value === background.at[i])) return foreground;
  const label = components(foreground);
  const side = Math.max(foreground.height, foreground.width);
  const removed = map(background, (value, i) => +(value > 0 && foreground.at[i] === 0));
  const beside = extreme(removed, Math.floor(side / 48) + 1, Math.max);
  const things = measured(label, (thing, i) => {
    thing.area += 1 - beside.at[i];
    thing.touching += beside.at[i];
  });
  const ends = [7 * foreground.height, 7 * foreground.width, 1 - foreground.height, 1 - foreground.width];
  const rest = things.map(({ area, touching, box }) => {
    const outside = box.some((end, i) => end * 8 >= ends[i]);
    return area === 0 || longerOf(box) * 32 <= side || (outside && touching > 0); // of a line that was not even; its end
  });
  return map(foreground, (value, i) => (label.at[i] && !rest[label.at[i]] ? value : 0));
}

/** Take out lines at most 16° from upright, from the top to the bottom or between level lines of the background. */
function withoutUprightLines(foreground, background) {
  const { height, width } = foreground;
  const side = Math.max(height, width);
  let [top, bottom] = [0, height];
  for (let y = 0; y < height; y++) {
    const covered = background.at.subarray(y * width, (y + 1) * width).reduce((sum, value) => sum + (value > 0), 0);
    if (covered * 2 <= width) continue;
    if (y * 4 < height) top = y + 1;
    if (y * 4 >= height * 3) bottom = Math.min(bottom, y);
  }
  const at = foreground.at.slice();
  const remove = (lines, first) => {
    for (const [row, start, end] of lines) at.fill(0, (first + row) * width + start, (first + row) * width + end);
  };
  remove(uprightLines(foreground, Math.floor(side / THIN), 2), 0);
  remove(uprightLines(foreground, Math.floor(side / THICK), OUTER), 0);
  if (bottom - top < height) remove(uprightLines(rows(foreground, top, bottom), Math.floor(side / THICK), OUTER), top);
  return { height, width, at };
}

/** The runs of lines of at most this width that go from the top to the bottom, in this share at the left and at the right. */
function uprightLines(foreground, thickest, share) {
  const { height, width } = foreground;
  const thin = runs(foreground).filter(([, start, end]) => end - start <= thickest);
  const line = isLine(thin, height, width, share);
  const straight = thin.filter((run) => {
    for (let slope = -STEEP; slope <= STEEP; slope++) if (line[placeOf(run, slope, height, width)]) return true;
    return false;
  });
  const length = ([, start, end]) => end - start;
  const level = ([row, start, end]) => foreground.at[row * width + Math.floor((start + end) / 2)];
  const middle = (value) => straight.map(value).sort((a, b) => a - b)[Math.floor(straight.length / 2)];
  const [long, dark] = [middle(length), middle(level)];
  // longer or darker ones are where a stroke crosses, or lies on the line
  return straight.filter((run) => length(run) <= Math.floor((long * 3) / 2) + 1 && level(run) * 2 <= dark * 3);
}

/** Where a run's centre line meets row 0, at a slope. */
function placeOf([row, start, end], slope, height, width) {
  const place = Math.floor((start + end + 2 * height + Math.floor((row * slope) / 32)) / 4) + 1;
  return place + (width + 2 * height) * (slope + STEEP);
}

/** Of each place, at all slopes, whether a line goes through the picture there: at both ends too; no stroke does. */
function isLine(thin, height, width, share) {
  const stride = width + 2 * height;
  const size = stride * (2 * STEEP + 1) + 2;
  const top = (i) => 2 * ((i % stride) - 1) - height; // the column in row 0
  const bottom = (i) => top(i) - Math.floor(((Math.floor(i / stride) - STEEP) * height) / 64);
  const beyond = (column) => column < 4 || column >= width - 4; // it has left by the side
  const band = Math.floor(height / 12) + 1;
  const bands = [[height, 0, () => false], [band, 0, (i) => beyond(top(i))], [band, height - band, (i) => beyond(bottom(i))]];
  const counts = bands.map(() => new Float64Array(size));
  for (const run of thin) {
    for (let slope = -STEEP; slope <= STEEP; slope++) {
      const place = placeOf(run, slope, height, width);
      bands.forEach(([length, first], b) => (counts[b][place] += +(run[0] >= first && run[0] < first + length)));
    }
  }
  const line = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    const near = (b) => (i > 0 && i < size - 1 ? counts[b][i - 1] + counts[b][i + 1] : 0) + counts[b][i];
    if (!bands.every(([length, , left], b) => near(b) * 10 >= length * 6 || left(i))) continue;
    const middle = Math.floor((top(i) + bottom(i)) / 2);
    line[i] = +(middle * share < width || middle * share >= width * (share - 1));
  }
  // a line's edge is not even, and the border may cut some of it off
  return line.map((value, i) => value | (line[i - 1] ?? 0) | (line[i + 1] ?? 0));
}
