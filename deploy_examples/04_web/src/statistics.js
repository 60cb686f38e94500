/** Numbers of a list of times, computed as `slide-export bench` does. */

export const CONFIDENCE = 0.95;
const RESAMPLES = 1000;

/**
 * Returns a percentile of all calls for each rank of 0 to 100, {rank, value, low, high}, with its bootstrap interval.
 *
 * Calls of one round share what the machine did meanwhile, so whole rounds are drawn with replacement, never calls.
 * Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 8.3 and 13.3.
 *
 * @param rounds [rounds][calls] of milliseconds, all of one length
 */
export function percentiles(rounds, ranks) {
  const random = generator(0); // the same rounds give the same interval
  const drawn = ranks.map(() => new Float64Array(RESAMPLES));
  for (let i = 0; i < RESAMPLES; i++) {
    const sample = sorted(rounds.flatMap(() => rounds[Math.floor(random() * rounds.length)]));
    ranks.forEach((rank, r) => {
      drawn[r][i] = at(sample, rank);
    });
  }
  const all = sorted(rounds.flat());
  const tail = 50 * (1 - CONFIDENCE);
  return ranks.map((rank, r) => {
    drawn[r].sort();
    return { rank, value: at(all, rank), low: at(drawn[r], tail), high: at(drawn[r], 100 - tail) };
  });
}

/** Returns a function that gives numbers in [0, 1). Source: Marsaglia, Xorshift RNGs, 2003, the triple (13, 17, 5). */
function generator(seed) {
  let state = 0x9e3779b9 ^ seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function sorted(values) {
  return Float64Array.from(values).sort();
}

/** Returns the value at a rank of 0 to 100, linear between neighbours: NumPy's default. */
function at(sorted, rank) {
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
