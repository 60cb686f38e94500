/** The best classes as bars. */

import { html } from './elements.js';

/** Shows [{label, probability}], the best first; rows are kept, so that bars move from one frame to the next. */
export function classes(place, best) {
  while (place.children.length > best.length) place.lastElementChild.remove();
  best.forEach(({ label, probability }, i) => {
    const row = place.children[i] ?? place.appendChild(blank());
    const [name, value, bar] = row.children;
    name.textContent = label;
    value.textContent = `${(100 * probability).toFixed(1)}%`;
    bar.firstElementChild.style.width = `${100 * probability}%`;
  });
}

function blank() {
  const bar = html('span', { class: 'bar', 'aria-hidden': 'true' }, html('i'));
  return html('li', {}, html('span', { class: 'label' }), html('span', { class: 'value' }), bar);
}
