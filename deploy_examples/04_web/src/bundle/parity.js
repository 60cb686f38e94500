/** Is what runs here the trained model? Outputs for the golden images beside the float64 reference of the bundle. */

import { batches, rows } from './batch.js';

const SIGNIFICANCE = 0.01;
const UNDECIDED = ['detect', 'restore']; // no class of an image or a pixel
const NONE = { top1: null, flips: [] };

/**
 * Returns the proof, with the fields of the manifest's "parity" and a list `failures` of sentences, empty where equal.
 *
 * Noise floor and limits are the manifest's: they were derived when it was exported, from the trained model.
 *
 * @param bundle of `open`
 * @param run from {name: {type, data, dims}} to the same of outputs; async
 * @param evaluator the program that runs it
 * @param progress called with the batches done and their number
 */
export async function check({ manifest, golden }, run, evaluator, progress = () => {}) {
  const { parity: said, options, task } = manifest;
  const decides = !options.features && !UNDECIDED.includes(task);
  const lists = batches(golden.images.length, options.batch, said.batch_sizes);
  const found = said.outputs.map(() => []);
  const decisions = Object.keys(golden.margins).map((name) => ({ name, parts: [] })); // classes of pixels
  for (const [done, indices] of lists.entries()) {
    progress(done, lists.length);
    const feeds = Object.entries(golden.feeds).map(([name, value]) => [name, rows(value, indices)]);
    const outputs = await run(Object.fromEntries(feeds));
    said.outputs.forEach(({ name }, i) => found[i].push(outputs[name].data));
    decisions.forEach(({ name, parts }) => parts.push(outputs[name].data));
  }
  const picked = lists.flat();
  const outputs = said.outputs.map((limits, i) =>
    compare(limits, found[i], rows(golden.exact[limits.name], picked), i === 0 && decides),
  );
  const top = decided(golden, decisions, picked) ?? (decides ? flips(golden, said.outputs[0].name, found[0], picked) : NONE);
  const proof = {
    ...said,
    evaluator,
    images: golden.images.length,
    batch_sizes: [...new Set(lists.map((list) => list.length))],
    outputs,
    ...top,
  };
  const failures = [...objections(proof)];
  return { ...proof, passed: failures.length === 0, failures };
}

/**
 * Returns the numbers of one output: the manifest's limits, with what was found here in the place of what was then.
 *
 * @param scores whether a class is decided by it: then what all scores of an image share is no signal
 */
function compare(limits, parts, { data: expected, dims }, scores) {
  const length = expected.length / dims[0];
  const overall = mean(expected);
  const plane = dims.slice(2).reduce((product, side) => product * side, 1);
  const flat = parts.flatMap((part) =>
    Array.from({ length: part.length / length }, (_, i) => part.subarray(i * length, (i + 1) * length)),
  );
  let largest = 0,
    total = 0,
    squares = 0,
    power = 0,
    centred = 0,
    cosine = 1;
  flat.forEach((row, image) => {
    let dot = 0,
      own = 0,
      other = 0;
    const wantedRow = expected.subarray(image * length, (image + 1) * length);
    const shared = length === 1 ? [0] : scores ? sharedOf(wantedRow, plane) : [overall]; // one score is judged as it is
    row.forEach((value, i) => {
      const wanted = expected[image * length + i];
      const error = Math.abs(value - wanted);
      largest = Math.max(largest, error); // NaN stays NaN
      total += error;
      squares += error * error;
      dot += value * wanted;
      own += value * value;
      other += wanted * wanted;
      centred += (wanted - shared[i % shared.length]) ** 2;
    });
    power += other;
    cosine = Math.min(cosine, dot / Math.sqrt(own * other));
  });
  return {
    ...limits,
    max_abs: largest,
    mean_abs: total / expected.length,
    rms: Math.sqrt(squares / expected.length),
    sqnr_db: 10 * Math.log10(power / squares),
    centred_db: 10 * Math.log10(centred / squares),
    cosine,
  };
}

/** Returns the mean of values. */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Returns what all classes of a decision share, [plane]: the mean of its scores; of a single class nothing. */
function sharedOf(row, plane) {
  const classes = row.length / plane;
  const found = new Float64Array(plane);
  if (classes > 1) row.forEach((value, i) => (found[i % plane] += value / classes));
  return found;
}

/**
 * Returns the share of decisions, over every batch that an image was in, whose top class agrees, and of each image the
 * surest of those that do not: a decision an image of scores [N, K], one a pixel of [N, K, h, w].
 */
function flips({ images, exact }, name, parts, picked) {
  const [, classes, ...sides] = exact[name].dims;
  const plane = sides.reduce((product, side) => product * side, 1);
  const length = classes * plane;
  const row = (data, index) => data.subarray(index * length, (index + 1) * length);
  const found = parts.flatMap((part) => Array.from({ length: part.length / length }, (_, i) => row(part, i)));
  const wrong = new Map();
  let count = 0;
  picked.forEach((image, i) => {
    const reference = row(exact[name].data, image);
    for (let place = 0; place < plane; place++) {
      const of = (data) => Array.from({ length: classes }, (_, number) => data[number * plane + place]);
      const scores = of(reference);
      const [expected, best] = [argmax(scores), argmax(of(found[i]))];
      if (expected === best) continue;
      count += 1;
      const [first, second = -Infinity] = scores.sort((a, b) => b - a);
      if (!(first - second < wrong.get(image)?.margin))
        wrong.set(image, { image: images[image], expected, found: best, margin: first - second });
    }
  });
  return { top1: 1 - count / (picked.length * plane), flips: [...wrong.values()] };
}

/**
 * Returns the share of pixels whose class agrees, and of each image the surest of those that do not; null where the
 * outputs are no decisions.
 */
function decided({ images, exact, margins }, decisions, picked) {
  if (!decisions.length) return null;
  const wrong = new Map();
  let [count, all] = [0, 0];
  for (const { name, parts } of decisions) {
    const length = exact[name].data.length / exact[name].dims[0];
    const row = (data, index) => data.subarray(index * length, (index + 1) * length);
    const found = parts.flatMap((part) => Array.from({ length: part.length / length }, (_, i) => row(part, i)));
    picked.forEach((image, i) => {
      const [expected, margin] = [row(exact[name].data, image), row(margins[name].data, image)];
      all += length;
      found[i].forEach((value, at) => {
        if (value === expected[at]) return;
        count += 1;
        if (margin[at] < (wrong.get(image)?.margin ?? -1)) return;
        wrong.set(image, { image: images[image], expected: expected[at], found: value, margin: margin[at] });
      });
    });
  }
  return { top1: 1 - count / all, flips: [...wrong.values()] };
}

/** Returns the index of the largest value. */
export function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

/** Yields why it is not equal, a sentence each. Comparisons are written so that a NaN fails. */
function* objections({ outputs, flips: wrong, top1, images, accepted, spread = null }) {
  const { least_db = null, sure_margin = null } = accepted; // older manifests have neither
  for (const { name, max_abs, rms, limit_max, limit_rms, sqnr_db, centred_db } of outputs) {
    if (!(max_abs <= limit_max)) yield `${name} is off by ${number(max_abs)} at most, allowed ${number(limit_max)}`;
    if (!(rms <= limit_rms))
      yield `${name} is off by ${number(rms)} in the root mean square, allowed ${number(limit_rms)}`;
    const least = accepted.min_sqnr_db;
    if (least !== null && !(sqnr_db >= least))
      yield `${name} has ${sqnr_db.toFixed(1)} dB of signal to noise, at least ${least} asked`;
    if (least_db !== null && !(centred_db >= least_db))
      yield `${name} is ${centred_db.toFixed(1)} dB above its noise, at least ${least_db} asked`;
  }
  const limit = 2 * Math.max(...outputs.map((output) => output.limit_max));
  const sure = sure_margin === null || spread === null ? Infinity : sure_margin * spread;
  for (const flip of wrong.filter(({ margin }) => margin > limit || margin > sure)) {
    yield `${flip.image} is class ${flip.found} instead of ${flip.expected}, which rounding cannot explain`;
  }
  if (
    accepted.min_top1 !== null &&
    top1 !== null &&
    chance(images - wrong.length, images, accepted.min_top1) < SIGNIFICANCE
  ) {
    yield `${images - wrong.length} of ${images} top classes agree, so ${accepted.min_top1} of them is ruled out`;
  }
}

/** Returns the probability of at most `equal` successes of `count` where each has probability `share`. */
function chance(equal, count, share) {
  if (share >= 1) return Number(equal === count);
  let term = (1 - share) ** count;
  let sum = term;
  for (let n = 1; n <= equal; n++) {
    term *= ((count - n + 1) / n) * (share / (1 - share));
    sum += term;
  }
  return sum;
}

/** Returns three significant digits, "1.23e-6". */
export function number(value) {
  return Number.isFinite(value) ? value.toExponential(2) : String(value);
}
