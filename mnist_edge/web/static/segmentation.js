/**
 * What of a grey picture is the digit, under uneven light, noise and lines: first the foreground, then its strokes. This is
 * `predict/segmentation.py`, with the same functions in the same order on whole numbers, which gives the same bits;
 * tests/predict/test_picture.py holds it to that.
 */

import { withoutLines } from "./lines.js";
import { boxOf, components, count, cut, extreme, grid, inverted, longerOf, map, meanAround, measured, outline } from "./raster.js";

const SIDE = 256; // a picture is reduced to this first
const LEAST_CONTRAST = 40; // of 255, between foreground and background
const NOTHING = "no digit found: nothing stands out from the background, or it is very small.";
export const NOT_ONE = "no digit found: nothing that stands out could be one digit.";
const SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit.";
const TOO_SMALL = "no digit found: what stands out is too small to read.";
const LARGE = 64; // the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
const BUSY = 6; // the outline of all that stands out is at most this many times the picture's longer side
const OTHERS = 5; // small things beside the digit
const NOISY = 7; // times a picture's longer side: a longer outline of what is dark is that of noise
const PARTS = 6; // strokes that do not touch

/** The foreground of the one digit in a grey picture: 0 background to 255 stroke, cut to the digit's box. */
export function digitForeground(picture) {
  const grey = reduced(picture);
  const large = Math.max(grey.height, grey.width) >= LARGE;
  let smooth = meanAround(grey, +large);
  const even = evenPaper(smooth);
  let found = standingOut(grey, smooth, even);
  for (const radius of large ? [2, 3] : []) {
    if (!isBusy(found.foreground)) break;
    smooth = meanAround(smooth, radius); // it may be noise
    found = standingOut(grey, smooth, even);
  }
  const digit = oneDigit(found.foreground, found.top);
  if (large && isSoft(found.sharp, digit)) throw new NoDigit(NOT_ONE);
  const near = extreme(digit, 1, Math.max);
  return cut(map(found.sharp, (value, i) => (near.at[i] ? value : 0)), boxOf(digit));
}

/** The sharp foreground, the smooth one without lines, and the darkest level of the smooth one; `even` is `evenPaper`'s. */
function standingOut(grey, smooth, even) {
  const side = Math.max(grey.height, grey.width);
  let background, depth, foreground;
  if (even ? even.dark : isLightOnDark(smooth)) [grey, smooth] = [inverted(grey), inverted(smooth)];
  if (even) {
    background = map(smooth, () => even.level);
    depth = foreground = map(smooth, (value) => Math.floor((Math.max(even.level - value, 0) * 255) / Math.max(even.level, 64)));
  } else {
    [background, depth, foreground] = contrast(smooth);
  }
  if (side >= LARGE) {
    const level = Math.floor((darkest(foreground) + 1) / 2);
    const bad = blobs(map(depth, (value) => +(value >= level)), even !== null);
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

/** Whether the paper is dark, and its level with dark strokes on it; null where its light is not even. */
function evenPaper(grey) {
  const { height, width } = grey;
  const side = Math.max(height, width);
  const last = threshold(grey);
  let strokes = map(grey, (value) => +(value <= last));
  const inner = Math.floor(side / 16);
  let share = frameShare(strokes, 0);
  if (Math.abs(share - count(strokes) / (height * width)) * 2 > 1 && Math.min(height, width) > 2 * inner) {
    share = frameShare(strokes, inner); // the border was a box's line, or the margin of a thick digit
  }
  const dark = share * 2 > 1;
  if (dark) [grey, strokes] = [inverted(grey), map(strokes, (value) => 1 - value)];
  const strong = count(strokes);
  if (strong === 0 || strong === height * width || count(outline(strokes)) > NOISY * side) return null;
  const [level, pen] = [0, 1].map((part) => middle(grey, strokes, part));
  const radius = Math.floor(side >= 2 * LARGE ? side / 4 : side / 3);
  const closed = extreme(extreme(grey, radius, Math.max), radius, Math.min);
  const uneven = count(map(closed, (value) => +((level - value) * 5 > level - pen)));
  return uneven * 100 > height * width ? null : { dark, level };
}

/** The median level of the pixels of one part of a mask. */
function middle({ at }, mask, part) {
  const levels = at.filter((_, i) => mask.at[i] === part).sort();
  return levels[Math.ceil(levels.length / 2) - 1];
}

/** The share of a mask in the frame of pixels at some depth from the border. */
function frameShare({ height, width, at }, depth) {
  let count = 0;
  for (let x = depth; x < width - depth; x++) count += at[depth * width + x] + at[(height - 1 - depth) * width + x];
  for (let y = depth; y < height - depth; y++) count += at[y * width + depth] + at[(y + 1) * width - 1 - depth];
  return count / (2 * (width + height) - 8 * depth);
}

/** The level that separates the two groups of levels best (Otsu, 1979): the darker group's last. */
function threshold({ at }) {
  const histogram = new Float64Array(256);
  for (const value of at) histogram[value] += 1;
  const all = at.reduce((sum, value) => sum + value, 0);
  let [number, total, best, found] = [0, 0, -1, 0];
  for (let level = 0; level < 256; level++) {
    number += histogram[level];
    total += histogram[level] * level;
    const apart = all * number - total * at.length;
    const between = (apart * apart) / Math.max(number * (at.length - number), 1);
    if (between > best) [best, found] = [between, level];
  }
  return found;
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
function blobs(mask, even) {
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
    const longer = longerOf(box);
    if (even) {
      const [tall, wide] = [1 - box[0] - box[2], 1 - box[1] - box[3]];
      return +((touching * 4 > edge && tall * wide * 2 < height * width) || area * 5 > longer * edge);
    }
    const cutOff = touching * 10 > edge && longer * 4 < Math.max(height, width) * 3;
    return +(cutOff || area * 80 > (touching * 10 > edge ? 11 : 16) * longer * edge);
  });
  return extreme(map(label, (number) => bad[number] ?? 0), 2, Math.max);
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
  const grown = components(side >= LARGE ? extreme(map(foreground, (value) => +(value > 0)), 1, Math.max) : foreground);
  const label = map(grown, (number, i) => (foreground.at[i] ? number : 0));
  const things = measured(label, (thing, i) => {
    thing.mass += foreground.at[i];
    thing.strong ||= foreground.at[i] * 2 >= top;
  }).map((thing) => ({ ...thing, mass: thing.strong ? thing.mass : 0 }));
  if (!things.some(({ mass }) => mass)) throw new NoDigit(NOTHING);
  const main = things.reduce((best, thing) => (thing.mass > best.mass ? thing : best));
  const ends = [0, 0, 1 - foreground.height, 1 - foreground.width];
  const touches = ({ box }) => box.some((end, i) => end === ends[i]);
  for (const thing of touches(main) ? [] : things) { // of something beyond the border
    if (touches(thing) && thing.mass * 30 > main.mass && thing.mass * 5 < main.mass) thing.mass = 0;
  }
  const total = things.reduce((sum, { mass }) => sum + mass, 0);
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
  const others = things.filter((thing) => thing.mass * 150 > main.mass).length - chosen.size;
  if (others > OTHERS || mass * 5 < total * 4) throw new NoDigit(SEVERAL);
  if (chosen.size > PARTS) throw new NoDigit(NOT_ONE);
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
