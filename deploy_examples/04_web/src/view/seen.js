/** Draws exactly the pixels that the model sees. */

/** Shows {data, width, height} of 8-bit RGB on a canvas. */
export function seen(canvas, { data, width, height }, description) {
  const pixels = new ImageData(width, height);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    pixels.data[to] = data[from];
    pixels.data[to + 1] = data[from + 1];
    pixels.data[to + 2] = data[from + 2];
    pixels.data[to + 3] = 255;
  }
  Object.assign(canvas, { width, height, hidden: false });
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  canvas.setAttribute('aria-label', description);
  canvas.classList.toggle('few', width < 128); // few pixels are shown as what they are
}
