/** From a decoded picture to what the model takes, as the manifest's "preprocessing" says. */

import { resize } from './resize.js';

/**
 * Returns the pixels that the model sees, {data, width, height} of 8-bit RGB: resized, then cropped at the centre; or
 * whole at the top left, its ratio kept, and the rest filled with the mean's colour.
 *
 * @param picture {data: Uint8Array of height x width x 3 values, width, height}, upright
 * @param wanted the manifest's "preprocessing"
 */
export function fit(picture, wanted) {
  if (wanted.fits) return whole(picture, wanted);
  let [rows, columns] = wanted.resize;
  if (wanted.keep_aspect) {
    const factor = Math.max(rows / picture.height, columns / picture.width);
    rows = Math.max(rows, Math.trunc(picture.height * factor));
    columns = Math.max(columns, Math.trunc(picture.width * factor));
  }
  const [height, width] = wanted.crop;
  const resized = resize(picture, columns, rows, wanted.interpolation);
  return crop(resized, halfEven((columns - width) / 2), halfEven((rows - height) / 2), width, height);
}

function whole(picture, { crop: [height, width], interpolation, mean }) {
  const factor = Math.min(height / picture.height, width / picture.width);
  const side = (own, most) => Math.min(most, Math.max(1, Math.trunc(own * factor + 0.5)));
  const [rows, columns] = [side(picture.height, height), side(picture.width, width)];
  const resized = resize(picture, columns, rows, interpolation);
  const fill = mean.map((channel) => halfEven(255 * channel));
  const data = new Uint8Array(width * height * 3);
  for (let at = 0; at < data.length; at++) data[at] = fill[at % 3];
  for (let row = 0; row < rows; row++) {
    data.set(resized.data.subarray(row * columns * 3, (row + 1) * columns * 3), row * width * 3);
  }
  return { data, width, height };
}

/** Returns the integer next to a multiple of 0.5, the even one of two: Python's `round`, as in training. */
function halfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below & 1) : Math.round(value);
}

function crop(picture, left, top, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * picture.width + left) * 3;
    data.set(picture.data.subarray(from, from + width * 3), row * width * 3);
  }
  return { data, width, height };
}

/**
 * Returns a batch of one, {type, data, dims}: uint8 [1, H, W, 3] where the model normalises for itself, else float32
 * [1, 3, H, W], (value / 255 - mean) / std with each step rounded to float32.
 */
export function tensor({ data, width, height }, wanted) {
  if (wanted.embedded) return { type: 'uint8', data, dims: [1, height, width, 3] };
  const plane = width * height;
  const planes = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const values = levels(wanted.mean[channel], wanted.std[channel]);
    for (let i = 0; i < plane; i++) planes[channel * plane + i] = values[data[3 * i + channel]];
  }
  return { type: 'float32', data: planes, dims: [1, 3, height, width] };
}

/** Returns the normalised value of each of the 256 levels. */
function levels(mean, std) {
  const { fround } = Math;
  const of = (level) => fround(fround(fround(level / 255) - fround(mean)) / fround(std));
  return Float32Array.from({ length: 256 }, (_, level) => of(level));
}
