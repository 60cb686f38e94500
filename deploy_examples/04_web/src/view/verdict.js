/** The first thing on the page: is what runs here the trained model? */

import { html } from './elements.js';
import { count, small } from './words.js';

/** Shows how far the check is; `done` of `all` batches. */
export function pending(place, said, done = 0, all = 0) {
  place.dataset.state = 'pending';
  place.replaceChildren(
    html(
      'div',
      { class: 'said' },
      html('span', { class: 'sign', 'aria-hidden': 'true' }),
      html('div', {}, html('h2', {}, 'Checking'), html('p', {}, said)),
    ),
    html('progress', { max: all || 1, value: all ? done : null, 'aria-label': said }),
  );
}

/** Shows a proof of `parity.check`. */
export function verdict(place, proof) {
  const { passed, failures, outputs, images, source, batch_sizes: sizes } = proof;
  place.dataset.state = passed ? 'equal' : 'unequal';
  place.replaceChildren(
    html(
      'div',
      { class: 'said' },
      html('span', { class: 'sign', 'aria-hidden': 'true' }, passed ? '✓' : '✕'),
      html(
        'div',
        {},
        html('h2', {}, passed ? 'proved equal' : 'NOT equal'),
        html('p', {}, sentence(passed, images, source, sizes)),
      ),
    ),
    ...(passed
      ? []
      : [
          html(
            'ul',
            { class: 'failures' },
            failures.map((failure) => html('li', {}, `${failure}.`)),
          ),
        ]),
    html(
      'div',
      { class: 'gauges' },
      outputs.map((output) => gauge(output, outputs.length > 1)),
    ),
    details(proof),
  );
}

function sentence(passed, images, source, sizes) {
  const what = passed ? 'to the trained PyTorch model' : 'to the trained PyTorch model: do not use what runs here';
  return `${what}. Checked in this browser on ${count(images, 'real image')} (${source}), batch ${sizes.join(', ')}.`;
}

/** Returns the largest error on a line as long as the limit, with the noise floor marked; longer where it is beyond. */
function gauge({ name, max_abs: error, floor_max: floor, limit_max: limit }, named) {
  const whole = error > limit ? error : limit;
  const share = (value) => `${((100 * value) / whole).toFixed(2)}%`;
  return html(
    'figure',
    { class: 'gauge' },
    named ? html('figcaption', {}, name) : null,
    html(
      'div',
      {
        class: 'line',
        role: 'img',
        'aria-label': `${name}: largest error ${small(error)}, noise floor ${small(floor)}, limit ${small(limit)}`,
      },
      html('i', { class: 'error', style: `width:${Number.isFinite(error) ? share(error) : '100%'}` }),
      html('i', { class: 'floor', style: `left:${share(floor)}` }),
      html('i', { class: 'limit', style: `left:${share(limit)}` }),
    ),
    html(
      'dl',
      { class: 'numbers' },
      number('error', 'largest error', error),
      number('floor', 'noise floor', floor),
      number('limit', 'limit', limit),
    ),
  );
}

function number(kind, name, value) {
  return html('div', {}, html('dt', {}, html('i', { class: `key ${kind}` }), name), html('dd', {}, small(value)));
}

function details({ outputs, top1, evaluator }) {
  const heads = ['output', 'largest error', 'limit', 'root mean square', 'limit', 'SQNR', 'cosine'];
  const row = (output) => [
    output.name,
    small(output.max_abs),
    small(output.limit_max),
    small(output.rms),
    small(output.limit_rms),
    `${output.sqnr_db.toFixed(1)} dB`,
    output.cosine.toFixed(8),
  ];
  const cells = (values) => values.map((value, i) => html(i ? 'td' : 'th', i ? {} : { scope: 'row' }, value));
  return html(
    'details',
    {},
    html('summary', {}, 'Every number'),
    html(
      'div',
      { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Every number of the proof' },
      html(
        'table',
        {},
        html(
          'thead',
          {},
          html(
            'tr',
            {},
            heads.map((head) => html('th', { scope: 'col' }, head)),
          ),
        ),
        html(
          'tbody',
          {},
          outputs.map((output) => html('tr', {}, cells(row(output)))),
        ),
      ),
    ),
    html(
      'p',
      { class: 'faint' },
      `${evaluator}. ${top1 === null ? '' : `Top-1 agreement ${(100 * top1).toFixed(1)}%. `}`,
      'The reference is the trained model in float64; the noise floor is what PyTorch at this precision differs ',
      'from it, and the limit is a multiple of that. Both stand in the bundle.',
    ),
  );
}
