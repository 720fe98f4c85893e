/** What numpy does in a word, for pictures `{ height, width, at }`: `at` holds height × width numbers in reading order. */

export function grid(height, width, value) {
  const at = new Float64Array(height * width);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) at[y * width + x] = value(y, x);
  return { height, width, at };
}

export function map({ height, width, at }, value) {
  const found = new Float64Array(at.length);
  for (let i = 0; i < at.length; i++) found[i] = value(at[i], i);
  return { height, width, at: found };
}

export const inverted = (grey) => map(grey, (value) => 255 - value);
export const count = ({ at }) => at.reduce((sum, value) => sum + (value > 0), 0);
export const largest = ({ at }) => at.reduce((most, value) => Math.max(most, value), 0);
export const transposed = ({ height, width, at }) => grid(width, height, (y, x) => at[x * width + y]);

export function padded({ height, width, at }, by) {
  return grid(height + 2 * by, width + 2 * by, (y, x) => {
    const [row, column] = [y - by, x - by];
    return row >= 0 && row < height && column >= 0 && column < width ? at[row * width + column] : 0;
  });
}

/** First row and column of a mask, and minus the last ones, so that a union's are the minima. */
export function boxOf({ width, at }) {
  const box = [Infinity, Infinity, Infinity, Infinity];
  for (let i = 0; i < at.length; i++) if (at[i]) widen(box, Math.floor(i / width), i % width);
  return box;
}

function widen(box, y, x) {
  [y, x, -y, -x].forEach((end, i) => (box[i] = Math.min(box[i], end)));
}

/** The longer side of a box. */
export function longerOf([top, left, bottom, right]) {
  return 1 - Math.min(top + bottom, left + right);
}

/** The part of a picture within a box. */
export function cut({ width, at }, [top, left, bottom, right]) {
  return grid(1 - bottom - top, 1 - right - left, (y, x) => at[(top + y) * width + left + x]);
}

/** What each number's pixels add up to; `add` is called with a number's sums, the pixel, its row and its column. */
export function measured({ width, at }, add) {
  const things = [];
  at.forEach((number, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    things[number] ??= { area: 0, edge: 0, touching: 0, mass: 0, strong: false, box: Array(4).fill(Infinity) };
    if (number === 0) return;
    widen(things[number].box, y, x);
    add(things[number], i, y, x);
  });
  things[0] ??= { area: 0, edge: 0, touching: 0, mass: 0, strong: false, box: Array(4).fill(Infinity) };
  return things;
}
