/** Where a bundle's files come from: the page's own server, a chosen folder or a dropped one. */

import { Refusal } from './bundle/refusal.js';

/** Returns a reader of the bundle that the server has at /bundle/. */
export function served() {
  return async (path) => {
    let response;
    try {
      response = await fetch(`bundle/${path.split('/').map(encodeURIComponent).join('/')}`, { cache: 'no-store' });
    } catch (error) {
      throw new Refusal(`expected ${path} from the server, the connection failed (${error.message}): is it running?`);
    }
    // Some servers answer every address with the page.
    const page = response.headers.get('content-type')?.startsWith('text/html');
    return response.ok && !page ? response.arrayBuffer() : null;
  };
}

/**
 * Returns a reader of the bundle among some files: of the folder nearest to the top that has a manifest.json.
 *
 * @param files {path: File}
 */
export function among(files) {
  const depth = (path) => path.split('/').length;
  const manifests = Object.keys(files).filter((path) => path.split('/').at(-1) === 'manifest.json');
  const [nearest = 'manifest.json'] = manifests.sort((a, b) => depth(a) - depth(b));
  const folder = nearest.slice(0, -'manifest.json'.length);
  return async (path) => {
    const file = files[folder + path];
    if (!file) return null;
    try {
      return await file.arrayBuffer();
    } catch (error) {
      throw new Refusal(`expected to read ${path}, the browser says: ${error.message}`);
    }
  };
}

/** Returns {path: File} of a file input, whether it chose a folder or files. */
export function chosen(list) {
  return Object.fromEntries(Array.from(list, (file) => [file.webkitRelativePath || file.name, file]));
}

/** Returns {path: File} of what was dropped, folders with all that is below. */
export async function dropped(transfer) {
  // Both lists must be taken before the first await, after which the browser empties them.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = chosen(transfer.files);
  if (!entries.some((entry) => entry.isDirectory)) return plain;
  return Object.fromEntries((await Promise.all(entries.map(below))).flat());
}

/** Returns [path, File] of an entry or of everything below it. */
async function below(entry) {
  if (entry.isFile)
    return [[entry.fullPath.slice(1), await new Promise((resolve, reject) => entry.file(resolve, reject))]];
  const reader = entry.createReader();
  const found = [];
  for (let some; !some || some.length; found.push(...some)) {
    some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 a call
  }
  return (await Promise.all(found.map(below))).flat();
}
