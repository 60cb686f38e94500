/** Colours of classes, and pictures {data, width, height} of 8-bit RGB under them. */

const COUNT = 256;
const FRAME = 2; // pixels

/** Returns the colours of 256 classes, 3 values each: a file's own, and behind them those of PASCAL VOC. */
export function colours(own = []) {
  const found = new Uint8Array(3 * COUNT);
  for (let number = 0; number < COUNT; number++) {
    for (let bit = 0; bit < 8; bit++) {
      for (let channel = 0; channel < 3; channel++) {
        found[3 * number + channel] |= ((number >> (3 * bit + channel)) & 1) << (7 - bit);
      }
    }
  }
  found.set(own.slice(0, found.length));
  return found;
}

/** Returns {data, width, height} of class numbers: a map of classes, or the largest of the logits at each pixel. */
export function maskOf({ mask, logits }) {
  if (mask) {
    const [, height, width] = mask.dims;
    return { data: mask.data.subarray(0, height * width), width, height };
  }
  const [, classes, height, width] = logits.dims;
  const plane = height * width;
  const data = new Uint8Array(plane);
  for (let at = 0; at < plane; at++) {
    if (classes === 1) data[at] = logits.data[at] > 0;
    for (let number = 1; number < classes; number++) {
      if (logits.data[number * plane + at] > logits.data[data[at] * plane + at]) data[at] = number;
    }
  }
  return { data, width, height };
}

/** Returns a picture, half of each pixel the colour of its class. */
export function overlaid(picture, mask, palette) {
  const { width, height } = picture;
  const data = new Uint8Array(picture.data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const place = Math.floor((row * mask.height) / height) * mask.width + Math.floor((column * mask.width) / width);
      const at = 3 * (row * width + column);
      for (let channel = 0; channel < 3; channel++) {
        data[at + channel] = (picture.data[at + channel] + palette[3 * mask.data[place] + channel]) >> 1;
      }
    }
  }
  return { data, width, height };
}

/** Returns a picture with a frame around each box, in the colour of its class; the best stands on top. */
export function framed(picture, detections, palette) {
  const drawn = { ...picture, data: picture.data.slice() };
  for (const { box, label } of detections.toReversed()) {
    const [left, top, right, bottom] = box.map(Math.round);
    const colour = palette.subarray(3 * (label % COUNT), 3 * (label % COUNT) + 3);
    for (const y of [top, bottom - FRAME]) fill(drawn, left, y, right, y + FRAME, colour);
    for (const x of [left, right - FRAME]) fill(drawn, x, top, x + FRAME, bottom, colour);
  }
  return drawn;
}

function fill({ data, width, height }, left, top, right, bottom, colour) {
  for (let row = Math.max(0, top); row < Math.min(height, bottom); row++) {
    for (let column = Math.max(0, left); column < Math.min(width, right); column++) {
      data.set(colour, 3 * (row * width + column));
    }
  }
}
