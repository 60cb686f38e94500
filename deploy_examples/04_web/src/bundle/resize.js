/**
 * Pillow's antialiased resize of 8-bit pictures, bit for bit. A browser's own scaling is another function.
 *
 * Each axis is a weighted sum over the source pixels under a filter that is widened by the scale when shrinking; one
 * axis after the other, with the picture between them rounded to 8 bits.
 * Source: Pillow 13.0, src/libImaging/Resample.c (precompute_coeffs, normalize_coeffs_8bpc, ImagingResampleInner).
 */

const PRECISION_BITS = 22; // of a weight: 32 - 8 for the pixel - 2 for sums beyond 255, where bicubic overshoots
const ONE = 1 << PRECISION_BITS;
const HALF = 1 << (PRECISION_BITS - 1);
const CHANNELS = 3;

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
};

/** Keys' cubic with a = -0.5, for a distance of 0 or more. Source: Keys, IEEE ASSP 29 (6), 1981, equation 4. */
function cubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/**
 * Returns the picture in another size.
 *
 * @param picture {data: Uint8Array of height x width x 3 values, width, height}
 * @param interpolation "bicubic" or "bilinear"
 */
export function resize(picture, width, height, interpolation) {
  const filter = FILTERS[interpolation];
  if (!filter) throw new RangeError(`expected bicubic or bilinear, found ${interpolation}`);
  const lower = picture.height - height;
  const narrower = picture.width - width;
  // The order changes the rounding. Before Pillow 13 the width always came first.
  if (lower > 0 && lower > 2 * narrower) return toWidth(toHeight(picture, height, filter), width, filter);
  return toHeight(toWidth(picture, width, filter), height, filter);
}

function toHeight(picture, height, filter) {
  return picture.height === height ? picture : transpose(toWidth(transpose(picture), height, filter));
}

function toWidth(picture, width, filter) {
  if (picture.width === width) return picture;
  const { data, width: from, height } = picture;
  const out = new Uint8Array(width * height * CHANNELS);
  for (let x = 0; x < width; x++) {
    const { first, weights } = taps(x, from, width, filter);
    for (let y = 0; y < height; y++) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        let at = (y * from + first) * CHANNELS + channel;
        let sum = HALF;
        for (let i = 0; i < weights.length; i++, at += CHANNELS) sum += data[at] * weights[i];
        out[(y * width + x) * CHANNELS + channel] = Math.min(255, Math.max(0, sum >> PRECISION_BITS));
      }
    }
  }
  return { data: out, width, height };
}

/** Returns the first source pixel that output pixel `x` sees and the fixed-point weights from there on. */
function taps(x, from, to, filter) {
  const scale = from / to;
  const widened = Math.max(scale, 1);
  const centre = (x + 0.5) * scale;
  const reach = filter.support * widened;
  const first = Math.max(0, Math.trunc(centre - reach + 0.5));
  const end = Math.min(from, Math.trunc(centre + reach + 0.5));
  const sharpness = 1 / widened;
  const exact = Array.from({ length: end - first }, (_, i) => filter.weight((i + first - centre + 0.5) * sharpness));
  const total = exact.reduce((sum, weight) => sum + weight, 0);
  const fixed = exact.map((weight) => Math.trunc((weight / total) * ONE + (weight < 0 ? -0.5 : 0.5)));
  return { first, weights: Int32Array.from(fixed) };
}

/** Returns the picture with rows and columns exchanged. */
function transpose({ data, width, height }) {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * CHANNELS;
      const to = (x * height + y) * CHANNELS;
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { data: out, width: height, height: width };
}
