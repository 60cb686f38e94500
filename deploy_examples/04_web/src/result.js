/** A measurement as the JSON that `slide-export bench` writes and `slide-export report` reads. */

import { formOf, precisionOf } from './bundle/schema.js';
import { CONFIDENCE } from './statistics.js';

const SCHEMA = 'slide-export/result/1';
const BLIND = 'a browser tells neither the load, the frequency nor the peak memory of the machine';

/**
 * Returns the result, one run. Its proof is the one made here, in this browser.
 *
 * @param bundle of `open`
 * @param runtime what the worker told of itself
 * @param proof of `parity.check`
 * @param measured of the worker, with its percentiles
 * @param machine of `device`
 * @param doubts what makes the numbers doubtful, one sentence each
 */
export function result(bundle, runtime, proof, measured, machine, doubts) {
  const [name, version] = machine.browser.split(/ (?=\S*$)/);
  return {
    schema: SCHEMA,
    measured: measured.began,
    environment: {
      ...machine.environment,
      versions: { 'onnxruntime-web': runtime.version, [name]: version ?? '' },
      warnings: [...doubts, BLIND],
    },
    protocol: {
      rounds: measured.rounds.length,
      calls: measured.calls,
      threads: runtime.settings.threads,
      affinity: [],
      confidence: CONFIDENCE,
      same_within: 0.02,
    },
    runs: [run(bundle, runtime, proof, measured)],
    comparisons: [],
  };
}

function run(
  { manifest, manifestSha256 },
  runtime,
  { firstMs, failures, ...parity },
  { rounds, warmupCalls, stable, percentiles },
) {
  const { name, target, model, options, artifact, fusion, accuracy } = manifest;
  const batch = options.batch ?? 1;
  const intervals = percentiles.map(({ rank, ...interval }) => [`p${rank}_ms`, interval]);
  return {
    subject: {
      name,
      target,
      precision: precisionOf(manifest),
      family: model.family,
      variant: model.variant,
      image_size: model.image_size,
      weights: 'trained',
      lowering: fusion.length ? formOf(manifest) : '', // none without slide attention
      parameters: model.parameters,
      macs: model.macs,
      artifact_bytes: artifact.bytes,
      manifest_sha256: manifestSha256,
      parity,
      accuracy,
    },
    evaluator: runtime.evaluator,
    batch,
    settings: runtime.settings,
    rounds_ms: rounds,
    warmup_calls: warmupCalls,
    stable,
    import_ms: runtime.importMs,
    load_ms: runtime.loadMs,
    first_ms: firstMs,
    ...Object.fromEntries(intervals),
    images_per_s: (1000 * batch) / intervals[0][1].value,
    peak_mib: null, // no browser tells the peak of one worker
    stand_in: '',
    profile: [],
  };
}

/** Yields what makes times of this browser doubtful, a sentence each. */
export function* doubts({ clockMs }, isolated) {
  if (!isolated) yield 'the page is not cross-origin isolated: one thread, and a coarse clock';
  if (clockMs > 0.02) yield `the clock steps by ${Number(clockMs.toPrecision(2))} ms`;
}
