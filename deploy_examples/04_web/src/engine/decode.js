/** From an image file or a frame of the camera to upright 8-bit RGB, without the browser's own colour management. */

import { Refusal } from '../bundle/refusal.js';

/**
 * Returns {picture: {data, width, height}, transparent}.
 *
 * Colours stay as the file has them (no ICC profile is applied), as in training; of transparent pixels a browser keeps
 * no exact colours, so the caller is told.
 *
 * @param source a Blob, or an ImageBitmap, which is closed
 * @throws Refusal it is no image that this browser decodes
 */
export async function decode(source) {
  const bitmap = source instanceof Blob ? await bitmapOf(source) : source;
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return opaque(context.getImageData(0, 0, width, height));
}

async function bitmapOf(file) {
  try {
    return await createImageBitmap(file, {
      imageOrientation: 'from-image',
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw new Refusal(
      `expected an image, ${file.name || 'this file'} cannot be decoded by this browser: choose another`,
    );
  }
}

function opaque({ data, width, height }) {
  const rgb = new Uint8Array(width * height * 3);
  let transparent = false;
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
    transparent ||= data[from + 3] < 255;
  }
  return { picture: { data: rgb, width, height }, transparent };
}
