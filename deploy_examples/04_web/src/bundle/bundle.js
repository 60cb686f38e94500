/** A bundle of slide-export, whole and unaltered: its manifest, its artifact and its golden tensors. */

import { Refusal } from './refusal.js';
import { parse } from './safetensors.js';
import { SCHEMAS } from './schema.js';

const GOLDEN = 'golden.safetensors';

/**
 * Returns {manifest, manifestSha256, artifact: ArrayBuffer, golden: {images, feeds, exact, margins}}.
 *
 * @param read from a path inside the bundle to its ArrayBuffer, or null where there is no such file; may be async
 * @param place what to call the bundle in a message
 * @throws Refusal a file is missing or altered, or the bundle is for another target
 */
export async function open(read, place) {
  const bytes = await read('manifest.json');
  if (!bytes) throw new Refusal(`expected a bundle of slide-export, found no manifest.json in ${place}`);
  const manifest = understood(bytes, place);
  const files = {};
  for (const [name, { sha256: expected }] of Object.entries(manifest.files)) {
    files[name] = await read(name);
    if (!files[name])
      throw new Refusal(`expected ${name} in ${place}, found none: the bundle is incomplete, export it again`);
    if ((await sha256(files[name])) !== expected) {
      throw new Refusal(`expected ${name} as it was exported, its sha256 differs in ${place}: it was altered`);
    }
  }
  const artifact = files[manifest.artifact.path];
  if (!artifact || !files[GOLDEN])
    throw new Refusal(
      `expected ${manifest.artifact.path} and ${GOLDEN} among the files of the manifest in ${place}: export it again`,
    );
  return { manifest, manifestSha256: await sha256(bytes), artifact, golden: golden(files[GOLDEN]) };
}

function understood(bytes, place) {
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Refusal(
      `expected JSON in manifest.json of ${place}, found none that can be read: export the bundle again`,
    );
  }
  if (!SCHEMAS.includes(manifest?.schema)) {
    throw new Refusal(
      `expected a manifest of schema ${SCHEMAS.join(' or ')}, found ${manifest?.schema} in ${place}: export it with this release`,
    );
  }
  if (manifest.target !== 'onnx') {
    throw new Refusal(
      `expected a bundle for onnx, ${place} is for ${manifest.target}: export it again with --target onnx`,
    );
  }
  return manifest;
}

/** Returns names of the images, inputs by name and the float64 reference's outputs by name, first axis the image. */
function golden(buffer) {
  const { tensors, metadata } = parse(buffer, GOLDEN);
  const part = (prefix) =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    );
  const { images } = JSON.parse(metadata.reference);
  return { images, feeds: part('input.'), exact: part('reference.'), margins: part('margin.') };
}

/** Returns the hexadecimal SHA-256 of a buffer. */
async function sha256(buffer) {
  // Browsers keep it, the camera and threads from pages of plain http.
  if (!globalThis.crypto?.subtle)
    throw new Refusal('expected a page from https or localhost, which alone may compute sha256: serve it so');
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', buffer));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
