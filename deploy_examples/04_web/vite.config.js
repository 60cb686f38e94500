/** Serves the page, the bundle in $BUNDLE as /bundle/, and the two headers without which browsers give no threads. */

import { cpSync, createReadStream, existsSync, statSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { defaultClientConditions, defineConfig } from 'vite';

// Cross-origin isolation: shared memory, so threads, and a clock of 5 µs. Source: the HTML standard, 7.1.3 and 7.1.4.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

// npm runs scripts in the package's folder; the path is relative to where its user is.
const bundle = process.env.BUNDLE && resolve(process.env.INIT_CWD ?? '.', process.env.BUNDLE);

if (bundle && !existsSync(join(bundle, 'manifest.json'))) {
  console.error(
    `expected a bundle of slide-export in $BUNDLE, found no manifest.json in ${bundle}: set it to a bundle's folder`,
  );
  process.exit(2);
}

function serve({ middlewares }) {
  if (!bundle) return;
  middlewares.use('/bundle', (request, response) => {
    const file = resolve(bundle, `.${decodeURIComponent(new URL(request.url, 'http://page').pathname)}`);
    if (!file.startsWith(bundle + sep) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, 'Content-Length': statSync(file).size, 'Cache-Control': 'no-store' });
    createReadStream(file).pipe(response);
  });
}

export default defineConfig({
  appType: 'mpa', // a missing file is a 404, not the page
  base: './',
  plugins: [
    {
      name: 'bundle',
      configureServer: serve,
      configurePreviewServer: serve,
      closeBundle: () => bundle && cpSync(bundle, 'dist/bundle', { recursive: true }),
    },
  ],
  // The runtime's WebAssembly as files of their own, of which a visitor loads one.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  worker: { format: 'es' },
  build: { target: 'es2022', assetsInlineLimit: 0 },
  server: { headers },
  preview: { headers },
});
