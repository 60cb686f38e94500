/** The distribution of the latency: every call, and three percentiles. */

import { histogram, ticks } from '../statistics.js';
import { html, svg } from './elements.js';
import { count, milliseconds } from './words.js';

const HEIGHT = 184,
  ROW = 15,
  AXIS = 22; // of the plot, of a line of labels, of the axis below, in CSS pixels
const TOP = 4 * ROW; // a line for each percentile, and one for the count

/** Shows how far a measurement is. */
export function measuring(place, said, done = 0, all = 0) {
  place.replaceChildren(
    html('p', { class: 'faint' }, said),
    html('progress', { max: all || 1, value: all ? done : null, 'aria-label': said }),
  );
}

/**
 * Shows a measurement of the worker.
 *
 * @param measured {rounds, percentiles, warmupCalls, stable, clockMs, firstMs, batch, evaluator}
 * @param doubts sentences
 */
export function timing(place, measured, doubts) {
  const times = measured.rounds.flat();
  const found = measured.percentiles;
  const width = Math.max(240, place.clientWidth);
  const bins = histogram(times, width < 420 ? 24 : 36);
  place.replaceChildren(
    html('dl', { class: 'percentiles' }, found.map(figure)),
    html('figure', { class: 'plot' }, drawn(bins, times, found, width)),
    html('p', { class: 'faint' }, caption(measured, times.length, bins.log)),
    ...(doubts.length
      ? [
          html(
            'ul',
            { class: 'doubts' },
            doubts.map((doubt) => html('li', {}, doubt)),
          ),
        ]
      : []),
  );
}

function figure({ rank, value, low, high }) {
  const interval = html('dd', { class: 'interval' }, `${milliseconds(low)} to ${milliseconds(high)}`);
  return html(
    'div',
    {},
    html('dt', {}, `p${rank}`),
    html('dd', {}, milliseconds(value), html('small', {}, ' ms')),
    interval,
  );
}

function caption({ rounds, warmupCalls, firstMs, clockMs, batch, evaluator }, calls, log) {
  const clock = clockMs < 1 ? `${Number((1000 * clockMs).toPrecision(2))} µs` : `${milliseconds(clockMs)} ms`;
  return (
    `${count(calls, 'call')} of batch ${batch} in ${count(rounds.length, 'round')}` +
    `${log ? ', on a logarithmic axis' : ''}; below the percentiles 95% intervals. ` +
    `Apart from them: the first call, ${milliseconds(firstMs)} ms, and ${count(warmupCalls, 'call')} of warm-up. ` +
    `The clock steps by ${clock}. ${evaluator}.`
  );
}

function drawn(bins, times, percentiles, width) {
  const most = Math.max(...bins.counts);
  const base = HEIGHT - AXIS;
  const x = (value) => bins.share(value) * width;
  const bar = (number, i) => {
    const height = ((base - TOP) * number) / most;
    const step = width / bins.counts.length;
    return number ? svg('rect', { x: i * step + 0.5, y: base - height, width: step - 1, height, rx: 1.5 }) : null;
  };
  const found = percentiles.map(({ rank, value }) => `p${rank} ${milliseconds(value)} ms`);
  const said = `${count(times.length, 'call')}: ${found.join(', ')}`;
  return svg(
    'svg',
    { viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': said },
    svg('g', { class: 'bars' }, bins.counts.map(bar)),
    svg('line', { class: 'axis', x1: 0, x2: width, y1: base, y2: base }),
    ticks(bins.low, bins.high, bins.log, width / 110).map((tick) => tickAt(x(tick), tick, width, base)),
    percentiles.map(({ rank, value }, row) => marker(x(value), rank, row, width, base)),
    highest(bins.counts, width),
  );
}

/** Returns the count of the fullest bin, written above it: the scale of the plot. */
function highest(counts, width) {
  const most = Math.max(...counts);
  const at = ((counts.indexOf(most) + 0.5) * width) / counts.length;
  const anchor = at < 24 ? 'start' : at > width - 24 ? 'end' : 'middle';
  return svg('text', { class: 'most', x: at, y: TOP - 4, 'text-anchor': anchor }, count(most, 'call'));
}

function tickAt(at, tick, width, base) {
  const anchor = at < 18 ? 'start' : at > width - 18 ? 'end' : 'middle';
  const label = svg(
    'text',
    { class: 'tick', x: at, y: base + 16, 'text-anchor': anchor },
    `${Number(tick.toPrecision(4))} ms`,
  );
  return svg('g', {}, svg('line', { class: 'axis', x1: at, x2: at, y1: base, y2: base + 4 }), label);
}

/** Returns a percentile's line; each label has a row of its own, so that none covers another. */
function marker(at, rank, row, width, base) {
  const y = ROW * (row + 1);
  const left = at > width - 34;
  return svg(
    'g',
    { class: `p${rank}` },
    svg('line', { x1: at, x2: at, y1: y - 10, y2: base }),
    svg('text', { x: left ? at - 5 : at + 5, y: y - 1, 'text-anchor': left ? 'end' : 'start' }, `p${rank}`),
  );
}
