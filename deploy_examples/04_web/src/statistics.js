/** Numbers of a list of times. */

/** Returns the value at a rank of 0 to 100, linear between neighbours: NumPy's default, as in `slide-export bench`. */
export function percentile(values, rank) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = ((sorted.length - 1) * rank) / 100;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/**
 * Returns {edges, counts, log} over all the values, none left out.
 *
 * Bins are equal in the logarithm where the largest value is over 3 times the smallest: a long tail would else press
 * everything into one bin.
 */
export function histogram(values, count = 32) {
  const low = Math.min(...values);
  const high = Math.max(...values, low * 1.01);
  const log = high > 3 * low;
  const at = (share) => (log ? low * (high / low) ** share : low + (high - low) * share);
  const share = (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const counts = new Array(count).fill(0);
  for (const value of values) counts[Math.min(count - 1, Math.floor(share(value) * count))] += 1;
  return { counts, log, low, high, share, edges: Array.from({ length: count + 1 }, (_, i) => at(i / count)) };
}

/** Returns round numbers from low to high, about `wanted` of them; on a logarithmic axis 1, 2 and 5 of each decade. */
export function ticks(low, high, log, wanted = 5) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      found.push(...[1, 2, 5].map((digit) => digit * 10 ** power));
    }
    return found.filter((tick) => tick >= low && tick <= high);
  }
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}
