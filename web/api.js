/* The HTTP API, and a memory of products that were asked for.
 *
 * Every call gives the answer's JSON or throws an ApiError whose message a person can read. A server with http.token set asks
 * for it once; it is kept for this tab only. */

const PRODUCTS_MAX = 2000;
const QUESTIONS_MAX = 4; /* of products at a time: a browser gives a server six connections, the stream has one */

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let token = sessionStorage.getItem('token') ?? '';

export function token_set(value) {
  token = value;
  sessionStorage.setItem('token', value);
}

export function headers(more = {}) {
  return token ? {...more, Authorization: `Bearer ${token}`} : more;
}

/* The answer to a request that failed, as an error. */
export async function error_of(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  return new ApiError(response.status, error.code ?? 'http', error.message ?? `the server answered ${response.status}`);
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {...options, headers: headers(options.headers)});
  } catch {
    throw new ApiError(0, 'away', 'the server cannot be reached');
  }
  if (!response.ok) throw await error_of(response);
  return response.json();
}

const post = (path, body) =>
  ask(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});

function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  return kept.length ? `?${new URLSearchParams(kept)}` : '';
}

const part = encodeURIComponent;

export const recommend = (user, n) => ask(`/v1/recommend/${part(user)}${query({n})}`);
/* Who asks for one kind wants no others that are like it. */
export const related = (item, kind, n) => ask(`/v1/related/${part(item)}${query({kind, n, fallback: kind === 'any'})}`);
export const complements = (items, n) => post(`/v1/related${query({n})}`, {items});
export const trending = (category, n) => ask(`/v1/trending${query({category, n})}`);
export const search = (text, category, n) => ask(`/v1/items${query({query: text, category, n})}`);
export const categories = () => ask('/v1/categories');
export const person = (user) => ask(`/v1/users/${part(user)}`);
export const explain = (user, item) => ask(`/v1/explain/${part(user)}/${part(item)}`);
export const send = (event) => post('/v1/events', event);

/* ---- products ---- */

const products = new Map(); /* id -> promise of the product, or of what stands in for one that is not known */
const waiting = [];
let asking = 0;

function next_question() {
  while (asking < QUESTIONS_MAX && waiting.length) {
    asking++;
    waiting.shift()().finally(() => {
      asking--;
      next_question();
    });
  }
}

function product_ask(item_id) {
  return new Promise((resolve) => {
    waiting.push(async () => {
      try {
        resolve(await ask(`/v1/items/${part(item_id)}`));
      } catch (error) {
        if (error.status !== 404) products.delete(item_id);
        resolve({item_id, title: item_id, categories: [], unknown: true});
      }
    });
    next_question();
  });
}

/* What is known of a product; never fails. fresh: ask again, for stock and price change. */
export function product(item_id, fresh = false) {
  if (fresh || !products.has(item_id)) {
    if (products.size >= PRODUCTS_MAX) products.delete(products.keys().next().value);
    products.set(item_id, product_ask(item_id));
  }
  return products.get(item_id);
}

export function products_learn(items) {
  for (const item of items) if (item.categories) products.set(item.item_id, Promise.resolve(item));
}
