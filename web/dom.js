/* Elements from plain calls. Data reaches the page as text nodes and attributes only: there is no way from it to markup. */

/* el('button', {class: 'x', 'aria-label': 'y', on: {click: f}}, 'text', node): undefined and false leave a property out. */
export function el(name, props = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (key === 'on') for (const [type, act] of Object.entries(value)) node.addEventListener(type, act);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

export function svg(name, props = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

/* Writes only what changed, so that a live region speaks once. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/* Other children for a list of products. A keyboard's focus in it goes to the same product, else to the first button. */
export function refill(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const item = focused?.closest('[data-item]')?.dataset.item;
  node.replaceChildren(...children);
  if (!focused) return;
  const rows = [...node.children].filter((row) => row.querySelector('button'));
  const row = rows.find((one) => one.dataset.item === item) ?? rows[0];
  row?.querySelector('button').focus({preventScroll: true});
}

const whole = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const money = new Intl.NumberFormat('en', {minimumFractionDigits: 2, maximumFractionDigits: 2});
const share = new Intl.NumberFormat('en', {style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1});

const is_number = (value) => typeof value === 'number' && Number.isFinite(value);

export const text_count = (value) => (is_number(value) ? whole.format(value) : '–');
export const text_price = (value) => (is_number(value) ? money.format(value) : '');
export const text_share = (value) => (is_number(value) ? share.format(value) : '–');

/* Milliseconds with as many digits as say something. */
export function text_ms(value) {
  if (!is_number(value)) return '–';
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 10 || value === 0 ? `${Math.round(value)} ms` : `${value.toFixed(1)} ms`;
}

/* How long ago, in words that need no clock of the same speed. */
export function text_ago(time_ms, now_ms = Date.now()) {
  const seconds = Math.max(0, Math.round((now_ms - time_ms) / 1000));
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time_ms).toISOString().slice(0, 10);
}

/* "kitchen/kettles" is read "kitchen, kettles"; underscores are spaces. */
export const text_words = (name) => name.replaceAll('_', ' ').replaceAll('/', ', ');

export const is_still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
