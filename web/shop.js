/* The shop: a product's page with what others bought, what is trending, the shelf with categories and search. */
import {el, byId, refill, say, text_price, text_count, text_words} from './dom.js';
import * as api from './api.js';
import {tile, tile_draw} from './tile.js';
import {reason_words} from './foryou.js';

const SHELF_STEP = 24, SHELF_MAX = 64, STRIP = 10, RELATED = 8;
const TYPING_MS = 150;
const KINDS = [['bought_together', 'Bought together'], ['also_bought', 'Also bought'], ['also_viewed', 'Also viewed'],
               ['viewed_then_bought', 'Viewed, then bought']];

/* A product as a card. It is filled in when the catalogue answers. */
function card(item, open) {
  const picture = tile(item);
  const title = el('span', {class: 'title'}, item.title || item.item_id);
  const brand = el('span', {class: 'soft'}, item.brand ?? '');
  const price = el('span', {class: 'price num'}, text_price(item.price));
  const stock = el('span', {class: 'soft stock'});
  const fill = (known) => {
    tile_draw(picture, known);
    say(title, known.title || item.item_id);
    say(brand, title.textContent.startsWith(known.brand ?? '') ? '' : known.brand);
    say(price, text_price(known.price ?? item.price));
    say(stock, stock_words(known.stock, true));
  };
  if (item.categories) fill(item);
  else api.product(item.item_id).then((known) => !known.unknown && fill(known));
  return el('li', {'data-item': item.item_id}, el('button', {type: 'button', class: 'card', 'data-item': item.item_id,
    on: {click: (event) => open(item.item_id, event)}}, picture, el('span', {class: 'card-text'}, title, brand,
    el('span', {class: 'card-end'}, price, stock))));
}

/* brief: on a card only what is worth a word is said. */
function stock_words(stock, brief = false) {
  if (stock === undefined || stock === null) return '';
  if (stock <= 0) return 'sold out';
  if (stock <= 5) return `only ${text_count(stock)} left`;
  return brief ? '' : `${text_count(stock)} in stock`;
}

/* On a phone the list stands above the product: both are in sight. */
const is_narrow = () => matchMedia('(max-width: 760px)').matches;

/* ---- one product ---- */

export class ProductPage {
  /* to: {open(item_id, click), act(type, items, click), cart_add(item, click), buy(items, click), user()} */
  constructor(to) {
    this.to = to;
    this.node = byId('product');
    this.item = null;
    this.kind = 'any'; /* until somebody chooses: the first kind that there is */
  }

  /* listed: the product's place in the list it was chosen from. */
  async show(item_id, listed) {
    const item = await api.product(item_id, true);
    this.item = item;
    this.kinds = KINDS.map(([kind, name]) => el('button', {type: 'button', class: 'chip', 'data-kind': kind, 'aria-pressed': 'false',
      on: {click: () => this.kind_set(kind)}}, name));
    this.related = el('ol', {id: 'related', class: 'strip', 'aria-labelledby': 'related-head'});
    this.related_note = el('p', {id: 'related-note', class: 'note', role: 'status'});
    this.why = el('p', {class: 'why', id: 'why'});
    const title = el('h2', {id: 'product-title', tabindex: '-1'}, item.title || item.item_id);
    this.node.replaceChildren(
      el('div', {class: 'product-main'}, tile(item), el('div', {class: 'product-text'},
        el('p', {class: 'crumb soft'}, [item.brand, ...(item.categories ?? []).slice(-1).map(text_words)].filter(Boolean).join(' · ')),
        title,
        el('p', {class: 'product-price'}, el('span', {class: 'num'}, text_price(item.price)), el('span', {class: 'soft'}, stock_words(item.stock))),
        this.why), this.actions(item)),
      el('div', {class: 'head'}, el('h3', {id: 'related-head'}, 'Customers also bought'), this.related_note),
      el('div', {class: 'chips', role: 'group', 'aria-label': 'Kind of relation'}, this.kinds),
      this.related);
    this.node.hidden = false;
    title.focus({preventScroll: true});
    (is_narrow() ? byId('foryou') : this.node).scrollIntoView({block: 'start'});
    this.explain(item_id, listed);
    await this.related_load();
  }

  actions(item) {
    const sold_out = item.stock !== undefined && item.stock !== null && item.stock <= 0;
    const button = (text, name, act, more = {}) => el('button', {type: 'button', class: name, ...more, on: {click: act}}, text);
    return el('div', {class: 'actions'},
      button('Add to cart', 'primary', (click) => this.to.cart_add(item, click), {disabled: sold_out, id: 'add-to-cart'}),
      button('Buy now', 'quiet', (click) => this.to.buy([{item, quantity: 1}], click), {disabled: sold_out, id: 'buy-now'}),
      button('Like', 'quiet', (click) => this.to.act('like', [{item_id: item.item_id}], click)),
      button('Not for me', 'quiet', (click) => this.to.act('dislike', [{item_id: item.item_id}], click)));
  }

  /* Why it stood in the list. */
  async explain(item_id, listed) {
    if (!listed?.reasons?.length) return;
    const words = await Promise.all(listed.reasons.map((reason) => reason_words(reason, item_id)));
    if (this.item.item_id === item_id) say(this.why, `In your list: ${words.join('; ')}.`);
  }

  /* Until the answer is there the list is of the kind before: aria-busy says so. */
  kind_set(kind) {
    this.kind = this.shown = kind;
    this.related.setAttribute('aria-busy', 'true');
    this.kinds_mark();
    return this.related_load();
  }

  kinds_mark() {
    for (const button of this.kinds) button.setAttribute('aria-pressed', String(button.dataset.kind === this.shown));
  }

  async related_load() {
    const {item_id} = this.item;
    try {
      const answer = await api.related(item_id, this.kind, RELATED);
      if (this.item.item_id !== item_id || (this.kind !== 'any' && answer.kind !== this.kind)) return;
      this.related_show(answer);
    } catch (error) {
      if (this.item.item_id !== item_id) return;
      this.related.setAttribute('aria-busy', 'false');
      this.related.replaceChildren();
      say(this.related_note, error.message);
    }
  }

  related_show(answer) {
    this.shown = answer.kind;
    this.related.setAttribute('aria-busy', 'false');
    this.kinds_mark();
    const own = answer.fallback ? 0 : answer.items.length - (answer.filled ?? 0);
    refill(this.related, ...answer.items.map((item, i) => {
      const place = card(item, this.to.open);
      if (i >= own) place.dataset.like = '';
      return place;
    }));
    say(this.related_note, this.related_words(answer));
  }

  related_words(answer) {
    if (answer.fallback === 'content') return 'nobody has yet: these are like it';
    if (answer.filled) return answer.filled === 1 ? 'the last one is like it' : `the last ${answer.filled} are like it`;
    return answer.items.length ? '' : 'nobody has yet: be the first';
  }

  /* A record of the stream. */
  related_arrived(answer) {
    if (this.item?.item_id !== answer.item_id || answer.kind !== this.shown) return;
    this.related_show({...answer, items: answer.items.slice(0, RELATED)});
  }
}

/* ---- trending, the shelf ---- */

export class Shelf {
  /* on_rising(items): what trends in the whole shop. */
  constructor(open, on_rising) {
    this.open = open;
    this.on_rising = on_rising;
    this.category = '';
    this.query = '';
    this.n = SHELF_STEP;
    this.tops = []; /* names of the categories that have chips */
    byId('search').addEventListener('input', () => this.typed());
    byId('search-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.typed(0);
      byId('shelf-head').scrollIntoView({block: 'start'});
    });
    byId('shelf-more').addEventListener('click', () => {
      this.n = Math.min(SHELF_MAX, this.n + SHELF_STEP);
      this.load();
    });
  }

  typed(wait = TYPING_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.query = byId('search').value.trim();
      this.n = SHELF_STEP;
      this.load();
    }, wait);
  }

  async start() {
    await this.categories_load();
    await Promise.all([this.load(), this.trending_load()]);
  }

  async categories_load() {
    const answer = await api.categories().catch(() => ({categories: []}));
    const tops = answer.categories.filter(({category}) => category && !category.includes('/'));
    const names = (tops.length ? tops : answer.categories.filter(({category}) => category)).slice(0, 24).map(({category}) => category);
    const chip = (category, name) => el('button', {type: 'button', class: 'chip', 'data-category': category,
      'aria-pressed': String(category === this.category), on: {click: () => this.category_set(category)}}, name);
    this.tops = names;
    byId('categories').replaceChildren(chip('', 'Everything'), ...names.map((name) => chip(name, text_words(name))));
  }

  category_set(category) {
    this.category = category;
    this.n = SHELF_STEP;
    for (const button of byId('categories').children) button.setAttribute('aria-pressed', String(button.dataset.category === category));
    return Promise.all([this.load(), this.trending_load()]);
  }

  /* What the shelf shows: of the whole shop some of each category in turn, for the catalogue's own order is one after the other. */
  async find() {
    if (this.query || this.category || this.tops.length < 2) return (await api.search(this.query, this.category, this.n)).items;
    const each = Math.ceil(this.n / this.tops.length);
    const answers = await Promise.all(this.tops.map((top) => api.search('', top, each)));
    const turns = Array.from({length: each}, (_, i) => answers.map(({items}) => items[i]));
    return turns.flat().filter(Boolean).slice(0, this.n);
  }

  async load() {
    const asked = `${this.query}/${this.category}/${this.n}`;
    this.asked = asked;
    say(byId('shelf-head'), this.query ? `Results for “${this.query}”` : 'Shop');
    try {
      const items = await this.find();
      if (this.asked !== asked) return;
      api.products_learn(items);
      refill(byId('shelf'), ...items.map((item) => card(item, this.open)));
      byId('shelf-more').hidden = items.length < this.n || this.n >= SHELF_MAX;
      say(byId('shelf-note'), this.note(items.length));
    } catch (error) {
      if (this.asked === asked) say(byId('shelf-note'), error.message);
    }
  }

  note(found) {
    if (found === 0) return this.query ? 'nothing has that in its title' : 'nothing here';
    if (!this.query) return '';
    return found < this.n ? `${found} found` : `the first ${found}`;
  }

  async trending_load() {
    const {category} = this;
    try {
      const answer = await api.trending(category, STRIP);
      if (this.category !== category) return;
      if (!category) this.on_rising(answer.fallback ? [] : answer.items);
      this.trending_show(answer);
    } catch (error) {
      byId('trending').replaceChildren();
      say(byId('trending-note'), error.message);
    }
  }

  trending_show(answer) {
    refill(byId('trending'), ...answer.items.slice(0, STRIP).map((item) => card(item, this.open)));
    const where = answer.category ? `in ${text_words(answer.category)}` : 'in the whole shop';
    if (answer.fallback) say(byId('trending-note'), `what is popular ${where}, while nothing rises`);
    else say(byId('trending-note'), answer.items.length ? where : `nothing rises yet ${where}`);
  }

  /* A record of the stream: shown unless somebody has the keyboard's focus in the strip, which would be lost. */
  trending_arrived(answer) {
    if (!answer.category) this.on_rising(answer.items);
    if (answer.category === this.category && !byId('trending').contains(document.activeElement)) this.trending_show(answer);
  }
}
