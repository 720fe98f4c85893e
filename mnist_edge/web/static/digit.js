/**
 * Which strokes are the one digit, and when there is none, or more than one. This is `digit.py`, with the same functions
 * in the same order on whole numbers.
 */

import { components, count, extreme, longerOf, map, measured, outline } from "./grid.js";

export const NOTHING = "no digit found: nothing stands out from the background, or it is very small.";
export const NOT_ONE = "no digit found: nothing that stands out could be one digit.";
const SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit.";
const TOO_SMALL = "no digit found: what stands out is too small to read.";
export const LARGE = 64; // the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
const WINDING = 12; // a digit's outline is at most this many times its longer side; a texture's is longer
const BUSY = 6; // the same for all that stands out, and the picture
const PARTS = 4; // strokes that do not touch

/** A picture that shows no digit; the message is the one that `mnist-edge predict` gives. */
export class NoDigit extends Error {}

/** Whether what stands out has more outline than a digit's. */
export function isBusy(ink) {
  return count(outline(ink)) > BUSY * Math.max(ink.height, ink.width);
}

/** Choose the components that make the digit: the heaviest, and what of some weight is near it. */
export function oneDigit(ink, top) {
  const side = Math.max(ink.height, ink.width);
  if (isBusy(ink)) throw new NoDigit(NOT_ONE);
  const label = components(ink);
  const things = measured(label, (thing, i) => {
    thing.mass += ink.at[i];
    thing.strong ||= ink.at[i] * 2 >= top;
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
  if (side >= LARGE && isDash(box, ink)) throw new NoDigit(NOT_ONE);
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

/** Whether there is much ink close around the digit, too: a stroke has an edge, light and shadow fade. */
export function isSoft(ink, digit) {
  const [near, wide] = [1, 3].map((radius) => extreme(digit, radius, Math.max));
  const around = map(wide, (value, i) => value - near.at[i]);
  const sum = (mask) => ink.at.reduce((total, value, i) => total + (mask.at[i] ? value : 0), 0);
  return sum(around) * count(digit) * 3 > sum(digit) * count(around);
}
