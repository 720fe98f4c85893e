// PLACEHOLDER, until the one that gives bit-identical pixels to preprocess.py is merged: the same two functions and error.

const SIDE = 28, BOX = 20, LEAST_CONTRAST = 40;

export class NoDigit extends Error {}

/** RGBA pixels of a canvas → grey Uint8Array(width × height). */
export function greyOf(rgba, width, height) {
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    const alpha = rgba[4 * i + 3] / 255;
    const light = 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2];
    grey[i] = Math.round(light * alpha + 255 * (1 - alpha));
  }
  return grey;
}

/** Grey picture → Uint8Array(784) as MNIST has them, or NoDigit is thrown. */
export function mnistLike(grey, width, height) {
  const paper = grey[0];
  let top = height, left = width, bottom = -1, right = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (Math.abs(grey[y * width + x] - paper) < LEAST_CONTRAST) continue;
      top = Math.min(top, y); bottom = Math.max(bottom, y);
      left = Math.min(left, x); right = Math.max(right, x);
    }
  }
  if (bottom < 0) throw new NoDigit("no digit found: nothing stands out from the background.");
  const scale = Math.max(bottom - top + 1, right - left + 1) / BOX;
  const high = Math.max(1, Math.round((bottom - top + 1) / scale));
  const wide = Math.max(1, Math.round((right - left + 1) / scale));
  const small = new Float32Array(high * wide);
  let sum = 0, sumX = 0, sumY = 0, brightest = 0;
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      let ink = 0, count = 0;
      for (let v = Math.floor(top + y * scale); v < Math.min(top + (y + 1) * scale, height); v++) {
        for (let u = Math.floor(left + x * scale); u < Math.min(left + (x + 1) * scale, width); u++, count++) {
          ink += Math.abs(grey[v * width + u] - paper);
        }
      }
      const value = ink / Math.max(count, 1);
      small[y * wide + x] = value;
      brightest = Math.max(brightest, value);
      sum += value; sumX += value * x; sumY += value * y;
    }
  }
  const place = (centre, side) => Math.min(Math.max(Math.round((SIDE - 1) / 2 - centre), 0), SIDE - side);
  const offX = place(sumX / sum, wide), offY = place(sumY / sum, high);
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      pixels[(y + offY) * SIDE + x + offX] = Math.round((255 * small[y * wide + x]) / brightest);
    }
  }
  return pixels;
}
