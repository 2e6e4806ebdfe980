/* The cart: a drawer with what is in it, what goes well with it, and the order. Kept for the user in this browser. */
import {el, byId, refill, say, text_price} from './dom.js';
import * as api from './api.js';
import {tile} from './tile.js';

const COMPLEMENTS = 4, LINES_MAX = 50;

export class Cart {
  /* to: {act(type, items, click), buy(lines, click), open(item_id, click)} */
  constructor(to) {
    this.to = to;
    this.lines = []; /* {item, quantity} */
    byId('cart-open').addEventListener('click', () => this.open());
    byId('cart-close').addEventListener('click', () => byId('cart').close());
    byId('cart').addEventListener('click', (event) => event.target === byId('cart') && byId('cart').close());
    byId('cart-buy').addEventListener('click', (click) => this.buy(click));
  }

  key() {
    return `cart/${this.user}`;
  }

  load(user) {
    this.user = user;
    try {
      this.lines = JSON.parse(localStorage.getItem(this.key()) ?? '[]');
    } catch {
      this.lines = [];
    }
    this.draw();
  }

  changed() {
    localStorage.setItem(this.key(), JSON.stringify(this.lines));
    this.draw();
    if (byId('cart').open) this.complements();
  }

  open() {
    byId('cart').showModal();
    this.complements();
  }

  async add(item, click) {
    const line = this.lines.find((one) => one.item.item_id === item.item_id);
    if (line) line.quantity++;
    else if (this.lines.length < LINES_MAX) this.lines.push({item, quantity: 1});
    this.changed();
    await this.to.act('add_to_cart', [{item_id: item.item_id, quantity: 1, price: item.price}], click);
  }

  async remove(line, click) {
    this.lines = this.lines.filter((one) => one !== line);
    this.changed();
    byId('cart-close').focus();
    await this.to.act('remove_from_cart', [{item_id: line.item.item_id, quantity: line.quantity}], click);
  }

  async buy(click) {
    const lines = this.lines;
    if (!lines.length || !(await this.to.buy(lines, click))) return;
    this.lines = [];
    this.changed();
    byId('cart').close();
  }

  total() {
    return this.lines.reduce((sum, {item, quantity}) => sum + (item.price ?? 0) * quantity, 0);
  }

  row(item, end) {
    return el('li', {'data-item': item.item_id}, tile(item), el('span', {class: 'cart-text'}, el('span', {class: 'title'}, item.title || item.item_id),
      el('span', {class: 'soft num'}, text_price(item.price))), end);
  }

  draw() {
    const count = this.lines.reduce((sum, {quantity}) => sum + quantity, 0);
    say(byId('cart-count'), String(count));
    say(byId('cart-total'), text_price(this.total()));
    byId('cart-buy').disabled = count === 0;
    const rows = this.lines.map((line) => this.row(line.item, el('span', {class: 'cart-end'}, el('span', {class: 'num'}, `× ${line.quantity}`),
      el('button', {type: 'button', class: 'quiet', 'aria-label': `Remove ${line.item.title || line.item.item_id}`,
        on: {click: (click) => this.remove(line, click)}}, 'Remove'))));
    byId('cart-items').replaceChildren(...(rows.length ? rows : [el('li', {class: 'empty soft'}, 'Nothing yet.')]));
  }

  async complements() {
    const ids = this.lines.map(({item}) => item.item_id);
    const mark = ids.join(' ');
    this.mark = mark;
    const answer = ids.length ? await api.complements(ids, COMPLEMENTS).catch(() => ({items: []})) : {items: []};
    const items = await Promise.all(answer.items.slice(0, COMPLEMENTS).map(({item_id}) => api.product(item_id)));
    if (this.mark !== mark) return;
    const is_focused = byId('cart-complements').contains(document.activeElement);
    byId('cart-more').hidden = items.length === 0;
    refill(byId('cart-complements'), ...items.map((item) => this.row(item, el('button', {type: 'button', class: 'quiet',
      'aria-label': `Add ${item.title || item.item_id}`, on: {click: (click) => this.add(item, click)}}, 'Add'))));
    if (is_focused && !items.length) byId('cart-close').focus();
  }
}
