/** The page: opens a bundle, proves it, measures it, and shows what it sees. */

import { open } from './bundle/bundle.js';
import { Refusal } from './bundle/refusal.js';
import { precisionOf } from './bundle/schema.js';
import { Camera } from './camera.js';
import { device } from './device.js';
import { Engine } from './engine/engine.js';
import { doubts, result } from './result.js';
import { among, chosen, dropped, served } from './sources.js';
import { percentiles } from './statistics.js';
import { classes } from './view/classes.js';
import { html } from './view/elements.js';
import { seen } from './view/seen.js';
import { measuring, timing } from './view/timing.js';
import { pending, verdict } from './view/verdict.js';
import { milliseconds } from './view/words.js';

const RANKS = [50, 90, 99];

const $ = (id) => document.getElementById(id);
const camera = new Camera($('video'));
let engine = null; // of the bundle below; a new bundle or backend gets a new one
let bundle, runtime, proof, measured;

/** Runs what a user asked for; what can be put right is said in one sentence, the rest is for the console as well. */
async function attempt(action) {
  $('alert').hidden = true;
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    $('alert').textContent = error.message;
    $('alert').hidden = false;
    if (!bundle) $('start').hidden = false;
  }
}

async function openBundle(read, place) {
  bundle = await open(read, place);
  const { name, model, artifact } = bundle.manifest;
  document.title = `${name} · slide-export`;
  $('name').textContent = name;
  $('about').textContent = [
    model.variant,
    model.image_size.join('×'),
    precisionOf(bundle.manifest),
    `${(artifact.bytes / 2 ** 20).toFixed(1)} MiB`,
  ].join(' · ');
  $('how').hidden = $('another').hidden = false;
  $('start').hidden = true;
  await prove();
}

/** Starts the chosen backend, shows the verdict, and only then the rest. An engine that was stopped never answers. */
async function prove() {
  stopCamera();
  clearImage();
  engine?.stop();
  engine = new Engine();
  [runtime, proof, measured] = [null, null, null];
  $('work').hidden = true;
  $('verdict').hidden = false;
  pending($('verdict'), 'starting ONNX Runtime Web');
  try {
    const { provider, threads } = JSON.parse($('backend').value);
    runtime = await engine.ask('open', { bundle, provider, threads });
    const progress = (done, all) =>
      pending($('verdict'), `batch ${done + 1} of ${all} of the golden images`, done, all);
    proof = await engine.ask('check', {}, progress);
  } catch (error) {
    engine.stop();
    engine = null;
    $('verdict').hidden = true;
    throw error;
  }
  $('work').hidden = false;
  verdict($('verdict'), proof);
  await measure();
}

async function measure() {
  stopCamera();
  ready(false);
  const began = new Date().toISOString().replace(/\.\d+Z$/, '+00:00');
  measuring($('timing'), 'warming up until the time is stable');
  const found = await engine.ask('measure', {}, (done, all) =>
    measuring($('timing'), `round ${done + 1} of ${all}`, done, all),
  );
  measured = {
    ...found,
    began,
    percentiles: percentiles(found.rounds, RANKS),
    firstMs: proof.firstMs,
    batch: bundle.manifest.options.batch ?? 1,
    evaluator: runtime.evaluator,
  };
  showTiming();
  ready(true);
}

function showTiming() {
  // A result says this in a field of its own.
  const unstable = measured.stable ? [] : ['the time did not become stable in the warm-up'];
  timing($('timing'), measured, [...unstable, ...doubts(measured, crossOriginIsolated)]);
}

function ready(yes) {
  $('again').disabled = $('save').disabled = !yes;
}

async function look(source, said) {
  const {
    classes: best,
    seen: pixels,
    transparent,
    ms,
  } = await engine.ask('classify', { source }, undefined, source instanceof ImageBitmap ? [source] : []);
  $('invite').hidden = true;
  seen($('seen'), pixels, `${said}, as the model sees it: ${best[0].label}`);
  classes($('classes'), best);
  const note = transparent
    ? ' It has transparent parts, of which a browser keeps no exact colours: not exactly what training would see.'
    : '';
  $('seen-note').textContent =
    `${said} as the model sees it, ${pixels.width}×${pixels.height} pixels, in ${milliseconds(ms)} ms.${note}`;
}

function refuseFeatures() {
  if (bundle.manifest.options.features)
    throw new Refusal(
      'expected a bundle with classes, this one returns feature maps: export it without --features to see a top-5',
    );
}

async function lookAt(file) {
  refuseFeatures();
  stopCamera();
  await look(file, file.name || 'The image');
}

function clearImage() {
  $('seen').hidden = true;
  $('invite').hidden = false;
  $('classes').replaceChildren();
  $('seen-note').textContent = '';
}

async function toggleCamera() {
  if (camera.on) return stopCamera();
  refuseFeatures();
  await camera.start((frame) =>
    look(frame, 'The camera’s picture').catch((error) =>
      attempt(() => {
        stopCamera();
        throw error;
      }),
    ),
  );
  $('camera').setAttribute('aria-pressed', 'true');
  $('camera').textContent = 'Stop camera';
}

function stopCamera() {
  camera.stop();
  $('camera').setAttribute('aria-pressed', 'false');
  $('camera').textContent = 'Use camera';
}

async function save() {
  const machine = await device();
  const content = result(bundle, runtime, proof, measured, machine, [...doubts(measured, crossOriginIsolated)]);
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: 'application/json' }));
  const name = `${bundle.manifest.name}-${machine.browser}.json`.toLowerCase().replaceAll(/[^\w.-]+/g, '-');
  html('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // when the download has long begun
}

async function take(transfer) {
  const files = await dropped(transfer);
  const paths = Object.keys(files);
  const isBundle = paths.some((path) => path.includes('/') || path === 'manifest.json');
  if (isBundle) return openBundle(among(files), 'the dropped folder');
  if (paths.length !== 1)
    throw new Refusal(`expected one image or a bundle’s folder, found ${paths.length} files: drop one`);
  if (!engine) throw new Refusal('expected a bundle first, found an image: drop a bundle’s folder');
  await lookAt(files[paths[0]]);
}

/** Fills the list of what can run a model here: WebAssembly with threads, with one, and WebGPU where there is one. */
async function listBackends() {
  const most = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1; // a phone has about 4 fast cores
  const threads = most > 1 ? [most, 1] : [1];
  const choices = threads.map((number) => [
    `WebAssembly, ${number} ${number === 1 ? 'thread' : 'threads'}`,
    { provider: 'wasm', threads: number },
  ]);
  if (await navigator.gpu?.requestAdapter()) choices.push(['WebGPU', { provider: 'webgpu', threads: 1 }]);
  $('backend').replaceChildren(
    ...choices.map(([label, value]) => html('option', { value: JSON.stringify(value) }, label)),
  );
}

function listen() {
  $('backend').addEventListener('change', () => attempt(prove));
  for (const id of ['open', 'another']) $(id).addEventListener('click', () => $('folder').click());
  $('choose').addEventListener('click', () => $('image').click());
  $('camera').addEventListener('click', () => attempt(toggleCamera));
  $('again').addEventListener('click', () => attempt(measure));
  $('save').addEventListener('click', () => attempt(save));
  $('folder').addEventListener(
    'change',
    ({ target }) => target.files.length && attempt(() => openBundle(among(chosen(target.files)), 'the chosen folder')),
  );
  $('image').addEventListener('change', ({ target }) => target.files.length && attempt(() => lookAt(target.files[0])));
  addEventListener('dragover', (event) => {
    event.preventDefault();
    $('veil').hidden = false;
  });
  addEventListener('dragleave', (event) => {
    $('veil').hidden = event.relatedTarget === null;
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    $('veil').hidden = true;
    attempt(() => take(event.dataTransfer));
  });
  addEventListener('resize', () => measured && showTiming());
}

await listBackends();
listen();
await attempt(async () => {
  const read = served();
  if (await read('manifest.json')) await openBundle(read, 'what the server has at /bundle/');
  else $('start').hidden = false;
});
