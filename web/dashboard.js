/* The dashboard: what the pipeline says of itself once a second, and a person's history and state. */
import {el, byId, say, text_count, text_ms, text_share, text_ago} from './dom.js';
import * as api from './api.js';
import {LineChart, PairBars} from './charts.js';
import {tile} from './tile.js';

const REFUSALS_MAX = 3; /* in a row, then this server is taken to keep no users */
const STALE_MS = 5000, AGAIN_MS = 1500, MOVERS = 5, HISTORY = 12;
const EVENT_WORDS = {view: 'viewed', click: 'clicked', add_to_cart: 'carted', remove_from_cart: 'took from the cart', purchase: 'bought',
                     refund: 'gave back', like: 'liked', dislike: 'disliked', search: 'searched', impression: 'saw'};
const TYPES = {view: 'views', click: 'clicks', add_to_cart: 'carts', purchase: 'purchases', like: 'likes'};

function figure(name, id, chart) {
  const value = el('span', {class: 'figure-value num', id});
  return {value, node: el('div', {class: 'figure'}, el('p', {class: 'figure-head'}, el('span', {class: 'soft'}, name), value), chart?.node)};
}

export class Dashboard {
  constructor(open) {
    this.open = open;
    this.rate = new LineChart('Events a second', ['events'], text_count);
    this.latency = new LineChart('Event to list, last 10 s', ['p50', 'p99'], text_ms);
    this.events = figure('events a second', 'm-events', this.rate);
    this.lists = figure('lists a second', 'm-lists');
    this.time = figure('event to list', 'm-latency', this.latency);
    this.lag = figure('behind the log', 'm-lag');
    this.letters = figure('dead letters', 'm-letters');
    this.time.value.append(el('span', {class: 'key key-0'}, 'p50 ', el('b', {id: 'm-p50'}, '–')), el('span', {class: 'key key-1'}, 'p99 ', el('b', {id: 'm-p99'}, '–')));
    this.bars = new Map();
    this.quality = el('div', {class: 'quality', id: 'm-quality'}, el('p', {class: 'soft'}, 'nothing to judge yet'));
    this.movers = el('ol', {class: 'movers', id: 'm-movers'});
    byId('dashboard-body').replaceChildren(
      this.events.node, this.time.node,
      el('div', {class: 'figures'}, this.lists.node, this.lag.node, this.letters.node),
      el('div', {class: 'block'}, el('h3', {}, 'Hits in the first 20 (HR@20)'), this.quality),
      el('div', {class: 'block'}, el('h3', {}, 'Top movers'), this.movers));
    setInterval(() => this.age(), 1000);
  }

  /* A message of the stream. Lists a second are counted between two of them; a view without a pipeline has only its own lag. */
  arrived(now) {
    const lists_per_s = this.before ? (1000 * (now.lists - this.before.lists)) / (now.time - this.before.time) : undefined;
    const lag = now.lag ?? now.view_lag;
    this.before = now;
    this.at = performance.now();
    this.rate.add([now.events_per_s]);
    this.latency.add([now.p50_ms, now.p99_ms]);
    say(this.events.value, text_count(now.events_per_s));
    say(this.lists.value, text_count(lists_per_s));
    say(byId('m-p50'), text_ms(now.p50_ms));
    say(byId('m-p99'), text_ms(now.p99_ms));
    say(this.lag.value, lag < 0 ? 'unknown' : text_count(lag));
    say(this.letters.value, text_count(now.dead_letters));
    this.letters.node.classList.toggle('is-bad', now.dead_letters > 0);
    this.quality_show(now.quality ?? {});
    this.age();
  }

  age() {
    const old = this.at === undefined ? null : performance.now() - this.at;
    byId('dashboard').classList.toggle('is-stale', old === null || old > STALE_MS);
    say(byId('dashboard-age'), old === null ? 'no numbers yet' : old > STALE_MS ? `${Math.round(old / 1000)} s old` : '');
  }

  quality_show(quality) {
    const types = Object.entries(quality).filter(([, of]) => of.events > 0);
    const top = Math.max(...types.map(([, of]) => Math.max(of.hr20, of.popularity_hr20)), 0);
    for (const [type, of] of types) {
      if (!this.bars.has(type)) {
        if (this.bars.size === 0) this.quality.replaceChildren();
        const bars = new PairBars(TYPES[type] ?? type, text_share);
        bars.node.dataset.type = type;
        this.bars.set(type, bars);
        this.quality.append(bars.node);
      }
      this.bars.get(type).set(of.hr20, of.popularity_hr20, top, text_count(of.events));
    }
  }

  /* What rises, by its score in the trending list. Made again only when another product leads, so that a focus in it is not lost each second. */
  movers_show(movers) {
    const shown = movers.slice(0, MOVERS);
    const mark = shown.map(({item_id}) => item_id).join(' ');
    if (this.mark === mark || this.movers.contains(document.activeElement)) return;
    this.mark = mark;
    const most = Math.max(...shown.map(({score}) => score), 0);
    this.movers.replaceChildren(...(shown.length ? shown : []).map((mover) => {
      const bar = el('span', {class: 'bar bar-ours'});
      bar.style.setProperty('--share', String(most > 0 ? Math.max(0, mover.score) / most : 0));
      return el('li', {}, el('button', {type: 'button', class: 'mover', 'data-item': mover.item_id, on: {click: (click) => this.open(mover.item_id, click)}},
        el('span', {class: 'title'}, mover.title || mover.item_id), el('span', {class: 'track'}, bar)));
    }));
    if (!shown.length) this.movers.replaceChildren(el('li', {class: 'soft'}, 'nothing moves yet'));
  }
}

/* ---- a person ---- */

export class Person {
  constructor(badge, open) {
    this.badge = badge;
    this.open = open;
    this.refusals = 0;
  }

  /* Soon, and once for several lists in a row. */
  refresh(user, wait = 250) {
    if (this.refusals >= REFUSALS_MAX) return;
    this.user = user;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), wait);
  }

  /* Nothing is asked before there is a list of theirs. */
  stranger(user) {
    clearTimeout(this.timer);
    this.user = user;
    this.none('Nothing: the stream has not met this person yet.');
  }

  async load() {
    const {user} = this;
    try {
      const state = await api.person(user);
      this.refusals = 0;
      if (this.user === user) await this.show(state);
    } catch (error) {
      this.refusals++;
      if (this.user !== user) return;
      this.none(error.message);
      /* Their list may be out before their state is stored. */
      if (this.refusals < REFUSALS_MAX) this.timer = setTimeout(() => this.load(), AGAIN_MS);
    }
  }

  none(words) {
    byId('you-body').replaceChildren(el('p', {class: 'soft'}, words));
  }

  facts(state) {
    const typical = this.badge.typical();
    const fact = (name, value, id) => el('div', {}, el('dt', {class: 'soft'}, name), el('dd', {class: 'num', id}, value));
    return el('dl', {class: 'facts'},
      fact('events applied', text_count(state.events), 'you-events'),
      fact('products bought', text_count(state.bought?.length ?? 0), 'you-bought'),
      fact('median update', typical === null ? '–' : text_ms(typical), 'you-median'),
      fact('model', state.encoder_state?.model_id?.slice(0, 8) ?? '–', 'you-model'));
  }

  async show(state) {
    const history = (state.window ?? []).slice(0, HISTORY);
    const known = await Promise.all(history.map(({item_id}) => api.product(item_id)));
    const now = Date.now();
    byId('you-body').replaceChildren(this.facts(state), el('ol', {class: 'history', id: 'history', 'aria-label': 'History, newest first'},
      history.map((entry, i) => el('li', {'data-item': entry.item_id}, tile(known[i]), el('span', {class: 'history-text'},
        el('span', {class: 'title'}, entry.title || known[i].title || entry.item_id),
        el('span', {class: 'soft'}, `${EVENT_WORDS[entry.event_type] ?? entry.event_type}, ${text_ago(entry.event_time, now)}`))))));
  }
}
