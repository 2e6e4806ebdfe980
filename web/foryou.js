/* "For you": the ranked list, what put each product there, how it moved, and the badge that says how fast it followed a
 * click.
 *
 * The badge's time is the browser's own: from the time stamp of the click (set by the browser when the finger or key came,
 * before any of our code) to the arrival of the bytes of the list whose trigger is the event that the click sent. Beside it
 * stands the pipeline's part: from the event's time in the log to the time at which its list was published. */
import {el, byId, say, is_still, text_ms, text_price, text_words} from './dom.js';
import {product} from './api.js';
import {tile, tile_draw} from './tile.js';

const PATIENCE_MS = 5000;
const CLICKS_MAX = 200; /* remembered while their lists are under way, and as times */
const MOVE_MS = 360;
const EASE = 'cubic-bezier(.2,.7,.2,1)';

const REASONS = {
  because_viewed: (title) => (title ? `because you viewed ${title}` : 'because of what you viewed'),
  bought_together: (title) => (title ? `bought together with ${title}` : 'bought together with yours'),
  similar_sessions: () => 'from visits like yours',
  trending: (category) => (category ? `trending in ${category}` : 'trending now'),
  popular: () => 'popular now',
  new: () => 'new in the shop',
  encoder: (title) => (title ? `follows from ${title}` : 'follows from your visit'),
  repeat: () => 'you looked at it before',
  content: (title) => (title ? `similar to ${title}` : 'similar to what you viewed'),
  pinned: () => 'picked by the shop',
};

/* A reason in words, its item by title or its category, for the product item_id. Promise, for the title may have to be asked for. */
export async function reason_words(reason, item_id) {
  const kind = reason.kind.replace(/_(with|in)$/, '');
  if (reason.item_id && reason.item_id === item_id) return 'you looked at it before';
  const what = reason.item_id ? (await product(reason.item_id)).title : reason.category;
  return (REASONS[kind] ?? (() => text_words(reason.kind)))(what);
}

/* ---- the badge ---- */

export class Badge {
  constructor() {
    this.waiting = new Map(); /* event id -> time stamp of the click */
    this.times = [];
    this.last = null;
  }

  show(state, text) {
    byId('badge').dataset.state = state;
    say(byId('badge-text'), text);
  }

  /* A click has sent this event. */
  expect(event_id, clicked_at) {
    if (this.waiting.size >= CLICKS_MAX) this.waiting.delete(this.waiting.keys().next().value);
    this.waiting.set(event_id, clicked_at);
    this.show('waiting', 'sending …');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.show('late', 'no new list 5 s after your click'), PATIENCE_MS);
  }

  refused(event_id) {
    this.waiting.delete(event_id);
    clearTimeout(this.timer);
    this.show('late', 'your click was not taken');
  }

  /* A list came. Returns the milliseconds since the click that it answers, or null when it answers none of ours. */
  arrived(list, at) {
    const clicked_at = this.waiting.get(list.trigger?.event_id);
    if (clicked_at === undefined) {
      if (this.waiting.size === 0) this.show('idle', 'updated by the stream');
      return null;
    }
    const ms = at - clicked_at;
    this.waiting.delete(list.trigger.event_id);
    clearTimeout(this.timer);
    this.times.push(ms);
    if (this.times.length > CLICKS_MAX) this.times.shift();
    const inside = list.published_at - list.trigger.event_time;
    this.last = {ms, inside, event_id: list.trigger.event_id};
    const pipeline = inside >= 0 && inside < PATIENCE_MS ? `, pipeline ${text_ms(inside)}` : '';
    this.show('fresh', `updated ${text_ms(ms)} after your click${pipeline}`);
    return ms;
  }

  forget() {
    this.waiting.clear();
    this.times = [];
    this.last = null;
    clearTimeout(this.timer);
    this.show('idle', 'waiting for a list');
  }

  typical() {
    if (!this.times.length) return null;
    return [...this.times].sort((a, b) => a - b)[this.times.length >> 1];
  }
}

/* ---- the list ---- */

export class ForYou {
  /* open(item_id, click, {recommendation_id, position}) is called for a product that was chosen. */
  constructor(open) {
    this.open = open;
    this.node = byId('picks');
    this.rows = new Map(); /* item id -> row */
    this.list = null;
    this.node.addEventListener('keydown', (event) => this.arrow(event));
  }

  clear() {
    this.rows.clear();
    this.node.replaceChildren();
    this.list = null;
    this.text = null;
  }

  /* Up and down, left and right walk the list; Home and End go to its ends. */
  arrow(event) {
    const buttons = [...this.node.querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement);
    if (at < 0) return;
    const to = {ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1}[event.key];
    if (to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[to].focus();
  }

  row(item) {
    const row = {item_id: item.item_id};
    row.rank = el('span', {class: 'rank num', 'aria-hidden': 'true'});
    row.tile = tile(item);
    row.title = el('span', {class: 'title'}, item.title || item.item_id);
    row.reason = el('span', {class: 'reason'});
    row.price = el('span', {class: 'price num'}, text_price(item.price));
    row.moved = el('span', {class: 'moved num', 'aria-hidden': 'true'});
    row.button = el('button', {type: 'button', class: 'pick', 'data-item': item.item_id,
      on: {click: (event) => this.open(item.item_id, event, {recommendation_id: this.list.recommendation_id, position: row.position})}},
      row.rank, row.tile, el('span', {class: 'pick-text'}, row.title, row.reason), el('span', {class: 'pick-end'}, row.price, row.moved));
    row.node = el('li', {'data-item': item.item_id}, row.button);
    product(item.item_id).then((known) => {
      tile_draw(row.tile, {...known, item_id: item.item_id});
      if (!item.title && known.title) say(row.title, known.title);
    });
    return row;
  }

  reason(row, item) {
    const reason = item.reasons?.[0];
    const mark = reason ? `${reason.kind} ${reason.item_id ?? reason.category ?? ''}` : '';
    if (row.mark === mark) return;
    row.mark = mark;
    row.reason.dataset.kind = reason?.kind ?? '';
    if (!reason) return say(row.reason, '');
    reason_words(reason, item.item_id).then((words) => row.mark === mark && say(row.reason, words));
  }

  moved(row, before, position, is_first) {
    const by = before === undefined ? null : before - position;
    row.moved.className = 'moved num';
    if (is_first || by === 0) return say(row.moved, '');
    row.moved.classList.add(by === null ? 'is-new' : by > 0 ? 'is-up' : 'is-down');
    say(row.moved, by === null ? 'new' : by > 0 ? `▲ ${by}` : `▼ ${-by}`);
  }

  /* Shows the list. Rows that stay slide to their places, new ones appear. Returns how many are new. */
  show(list) {
    const is_first = !this.list;
    const from = new Map([...this.rows].map(([id, row]) => [id, row.node.getBoundingClientRect()]));
    const ranks = new Map([...this.rows].map(([id, row]) => [id, row.position]));
    const focused = this.node.contains(document.activeElement) ? document.activeElement : null;
    this.list = list;
    const rows = list.items.map((item) => this.rows.get(item.item_id) ?? this.row(item));
    rows.forEach((row, i) => {
      row.position = i + 1;
      say(row.rank, String(i + 1));
      say(row.price, text_price(list.items[i].price));
      this.reason(row, list.items[i]);
      this.moved(row, ranks.get(row.item_id), row.position, is_first);
    });
    this.rows = new Map(rows.map((row) => [row.item_id, row]));
    this.node.replaceChildren(...rows.map((row) => row.node));
    if (focused?.isConnected) focused.focus({preventScroll: true});
    if (!is_first) this.slide(rows, from);
    return is_first ? 0 : rows.filter((row) => !ranks.has(row.item_id)).length;
  }

  /* What a click moved is at the head of the list. */
  to_top() {
    this.node.scrollTo({left: 0, top: 0, behavior: is_still() ? 'auto' : 'smooth'});
  }

  slide(rows, from) {
    if (is_still()) return;
    for (const {item_id, node} of rows) {
      const old = from.get(item_id);
      if (!old) {
        node.animate([{opacity: 0, transform: 'scale(.97)'}, {opacity: 1, transform: 'none'}], {duration: MOVE_MS, easing: EASE});
        continue;
      }
      const now = node.getBoundingClientRect();
      const x = old.left - now.left, y = old.top - now.top;
      if (x || y) node.animate([{transform: `translate(${x}px, ${y}px)`}, {transform: 'none'}], {duration: MOVE_MS, easing: EASE});
    }
  }
}
