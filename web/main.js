/* Wires the page: who the person is, what a click sends, and where what comes back is shown. */
import {byId, el, say, text_ago, text_ms} from './dom.js';
import * as api from './api.js';
import {Live} from './live.js';
import {Badge, ForYou, reason_words} from './foryou.js';
import {ProductPage, Shelf} from './shop.js';
import {Cart} from './cart.js';
import {Dashboard, Person} from './dashboard.js';

const LIST = 20, TOAST_MS = 4000, PEOPLE_MAX = 8;

let user = '';
const badge = new Badge();
const dashboard = new Dashboard((item_id, click) => open(item_id, click));

/* ---- words for everyone ---- */

/* Said to screen readers and, when it answers something a person did, shown for a moment. */
function announce(text, is_shown = false) {
  say(byId('announce'), text);
  if (!is_shown) return;
  const toast = byId('toast');
  say(toast, text);
  toast.hidden = false;
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => (toast.hidden = true), TOAST_MS);
}

/* ---- events ---- */

function unique_id() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/* Sends what the person did. True when the log has it. The event's time is the log's: clocks of browsers are often wrong. */
async function act(event_type, items, click, more = {}) {
  const event_id = `page-${unique_id()}`;
  badge.expect(event_id, click.timeStamp);
  try {
    await api.send({event_id, event_type, user_id: user, items, ...more});
    return true;
  } catch (error) {
    badge.refused(event_id);
    announce(`Not sent: ${error.message}`, true);
    return false;
  }
}

async function buy(lines, click) {
  const items = lines.map(({item, quantity}) => ({item_id: item.item_id, quantity, price: item.price}));
  const sent = await act('purchase', items, click, {order_id: `order-${unique_id()}`});
  const count = lines.reduce((sum, {quantity}) => sum + quantity, 0);
  if (sent) announce(count === 1 ? `Bought ${lines[0].item.title}.` : `Ordered ${count} products.`, true);
  return sent;
}

/* Opens a product. from: the list it was chosen in. */
function open(item_id, click, from = {}) {
  const listed = foryou.list?.items.find((item) => item.item_id === item_id);
  const {recommendation_id, position} = from;
  act('view', [{item_id, position}], click, {recommendation_id});
  history.pushState({item_id}, '', `#${encodeURIComponent(item_id)}`);
  tab_show('shop');
  return page.show(item_id, listed);
}

function cart_add(item, click) {
  announce(`${item.title || item.item_id} is in your cart.`, true);
  return cart.add(item, click);
}

const foryou = new ForYou(open);
const page = new ProductPage({open, act, cart_add, buy});
const shelf = new Shelf(open, (items) => dashboard.movers_show(items));
const cart = new Cart({open, act, buy});
const person = new Person(badge, open);

/* ---- what comes back ---- */

function list_note(list) {
  const note = byId('foryou-note');
  if (list.fallback) say(note, 'What is popular now. View something, and this becomes yours.');
  else say(note, `Ranked for ${user} by ${list.variant ? `${list.model_version}, ${list.variant}` : list.model_version}`);
}

async function list_announce(list, fresh, ms) {
  const first = list.items[0];
  if (!first) return;
  const reason = first.reasons?.[0] ? `, ${await reason_words(first.reasons[0], first.item_id)}` : '';
  announce(`For you changed ${text_ms(ms)} after your click: ${fresh} new, first is ${first.title || first.item_id}${reason}.`);
}

function list_arrived(list, at) {
  if (list.user_id !== user) return;
  const ms = badge.arrived(list, at);
  const fresh = foryou.show({...list, items: list.items.slice(0, LIST)});
  if (ms !== null) foryou.to_top();
  list_note(list);
  if (ms !== null) list_announce(list, fresh, ms);
  person.refresh(user);
}

function link_show({state, retry_at, why}) {
  byId('link').dataset.state = state;
  say(byId('link-text'), state === 'live' ? 'live' : state);
  byId('away').hidden = state !== 'away' || why === 'token';
  byId('token-form').hidden = why !== 'token';
  clearInterval(link_show.timer);
  if (state !== 'away') return;
  const count = () => {
    const left = Math.max(0, Math.ceil((retry_at - Date.now()) / 1000));
    say(byId('away-text'), `The connection is away: what you see may be old. Trying again ${left ? `in ${left} s` : 'now'}.`);
  };
  count();
  link_show.timer = setInterval(count, 1000);
}

/* A list may have changed while the connection was away. */
async function list_load() {
  const asked = user;
  try {
    const list = await api.recommend(asked, LIST);
    if (asked !== user) return;
    foryou.show(list);
    list_note(list);
    if (!list.fallback) person.refresh(asked);
    if (list.published_at && badge.waiting.size === 0) badge.show('idle', list.fallback ? 'no click yet' : `updated ${text_ago(list.published_at)}`);
  } catch (error) {
    say(byId('foryou-note'), error.message);
  }
}

const live = new Live({
  list: list_arrived,
  related: (answer) => page.related_arrived(answer),
  trending: (answer) => shelf.trending_arrived(answer),
  metrics: (now) => dashboard.arrived(now),
  status: (status) => {
    link_show(status);
    if (status.state !== 'live') return;
    list_load();
    if (!byId('shelf').children.length) shelf.start();
  },
});

/* ---- who ---- */

function people_remember(name) {
  const known = JSON.parse(localStorage.getItem('people') ?? '[]').filter((one) => one !== name);
  const people = [name, ...known].slice(0, PEOPLE_MAX);
  localStorage.setItem('people', JSON.stringify(people));
  byId('people').replaceChildren(...people.map((one) => el('option', {value: one})));
}

function user_set(name) {
  name = name.trim();
  if (!name || name === user) return;
  user = name;
  byId('user').value = name;
  people_remember(name);
  badge.forget();
  foryou.clear();
  cart.load(name);
  person.stranger(name);
  list_load();
  live.follow(name);
  document.title = `freshet: ${name}`;
}

const visitor_name = () => `visitor-${unique_id().slice(0, 4)}`;

function tab_show(tab) {
  document.body.dataset.tab = tab;
  for (const button of document.querySelectorAll('.tabs button')) {
    if (button.dataset.tab === tab) button.setAttribute('aria-current', 'page');
    else button.removeAttribute('aria-current');
  }
}

function listen() {
  byId('user-form').addEventListener('submit', (event) => {
    event.preventDefault();
    user_set(byId('user').value);
  });
  byId('user').addEventListener('change', () => user_set(byId('user').value));
  byId('user-new').addEventListener('click', () => user_set(visitor_name()));
  byId('away-retry').addEventListener('click', () => live.retry());
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    api.token_set(byId('token').value);
    live.retry();
  });
  for (const button of document.querySelectorAll('.tabs button')) button.addEventListener('click', () => tab_show(button.dataset.tab));
  addEventListener('popstate', (event) => {
    if (event.state?.item_id) page.show(event.state.item_id);
    else byId('product').hidden = true;
  });
}

listen();
user_set(JSON.parse(localStorage.getItem('people') ?? '[]')[0] ?? visitor_name());
shelf.start();
/* An address of a product opens it; that is no view, for nobody chose it here. */
if (location.hash.length > 1) page.show(decodeURIComponent(location.hash.slice(1)));
