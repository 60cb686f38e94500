/** Batches of golden images. */

const BATCH_SIZES = [1, 2, 3, 8]; // where a dynamic batch is checked: 0 and 1 are what exporters bake in

/**
 * Returns lists of image indices: every checked batch size from the first image on, then the rest; short sets repeat.
 *
 * @param count of images
 * @param fixed the artifact's batch size, null for a dynamic one
 * @param proved the sizes of a dynamic one that the export checked: fewer of large images
 */
export function batches(count, fixed, proved = BATCH_SIZES) {
  const sizes = fixed ? [fixed] : BATCH_SIZES.filter((size) => size <= Math.max(...proved));
  const lists = sizes.map((size) => cycle(0, size, count));
  const last = sizes.at(-1);
  for (let start = last; start < count; start += last) lists.push(cycle(start, last, count));
  return lists;
}

function cycle(start, size, count) {
  return Array.from({ length: size }, (_, i) => (start + i) % count);
}

/** Returns a tensor of some rows of another, {type, data, dims}, in the order of `indices`. */
export function rows({ type, data, dims: [, ...rest] }, indices) {
  const length = rest.reduce((product, size) => product * size, 1);
  const picked = new data.constructor(length * indices.length);
  indices.forEach((index, row) => picked.set(data.subarray(index * length, (index + 1) * length), row * length));
  return { type, data: picked, dims: [indices.length, ...rest] };
}
