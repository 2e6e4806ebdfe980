/* A person in front of the page: clicks through the shop, then the same by keyboard alone, on a phone, in the dark.
 *
 * Asserts what the page shows against what the server says; a word in the browser's console, a script error or a request that
 * failed is a failure of the case. Ends with `N passed, N failed, N skipped`. Called by page.sh. */
import {createRequire} from 'node:module';
import {readFile} from 'node:fs/promises';
import {join} from 'node:path';

const {chromium} = createRequire(`${process.env.FRESHET_TEST_PAGE_MODULES}/`)('playwright-core');
const URL_BASE = process.env.FRESHET_TEST_PAGE_URL, SHOTS = process.env.FRESHET_TEST_PAGE_SHOTS;
const CHROMIUM_ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
                       '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const PATIENCE_MS = 15000;
const DESKTOP = {viewport: {width: 1440, height: 900}};

class Wrong extends Error {}

function must(ok, text) {
  if (!ok) throw new Wrong(text);
}

const equal = (a, b, what) => must(a === b, `${what}: ${JSON.stringify(a)} is not ${JSON.stringify(b)}`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* ---- a browser window that is watched ---- */

async function visit(browser, options, name) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const bad = [];
  /* A list is out before the state of its person is stored: the page asks again. */
  const is_early = (url) => url.includes('/v1/users/');
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && !is_early(message.location().url) && bad.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => bad.push(`script: ${error.message}`));
  page.on('response', (answer) => answer.status() >= 400 && !(answer.status() === 404 && is_early(answer.url())) && bad.push(`${answer.status()} ${answer.url()}`));
  page.on('request', (request) => request.url().startsWith(URL_BASE) || bad.push(`asks elsewhere: ${request.url()}`));
  page.on('requestfailed', (request) => {
    /* The page ends its own stream when the person changes, and so does the end of the visit. */
    if (!request.url().includes('/v1/stream')) bad.push(`failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  await page.addInitScript((user) => localStorage.getItem('people') ?? localStorage.setItem('people', JSON.stringify([user])), name);
  await page.goto(URL_BASE);
  await page.waitForSelector('#picks li');
  await page.waitForSelector('#link[data-state=live]');
  return {context, page, bad};
}

const shot = (page, name) => page.screenshot({path: join(SHOTS, `${name}.png`)});

/* What stands in "for you", with its first reasons. */
const list_of = (page) => page.$$eval('#picks li', (rows) => rows.map((row) => ({
  item: row.dataset.item, title: row.querySelector('.title').textContent, reason: row.querySelector('.reason').textContent,
  kind: row.querySelector('.reason').dataset.kind})));

/* Acts, and waits for the badge that answers this act. Returns the milliseconds that it says. */
async function until_updated(page, act) {
  await page.evaluate(() => (document.getElementById('badge').dataset.state = 'test'));
  await act();
  await page.waitForSelector('#badge[data-state=fresh]', {timeout: PATIENCE_MS});
  const text = await page.textContent('#badge-text');
  const ms = /^updated ([\d.]+) (ms|s) after your click/.exec(text);
  must(ms, `the badge says "${text}"`);
  return Number(ms[1]) * (ms[2] === 's' ? 1000 : 1);
}

const ask = async (path) => (await fetch(new URL(path, URL_BASE))).json();

/* Text that is hard to read: WCAG 2.2, 1.4.3, a contrast of 4.5 with what is behind it, 3 for large letters. What is behind an
 * element is the nearest background of it and those around it, the half-transparent ones laid over each other. */
const hard_to_read = (page) => page.evaluate(() => {
  const paint = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const known = new Map(); /* a colour in whatever words, as red, green, blue, and how much it covers */
  const parts = (text) => {
    if (known.has(text)) return known.get(text);
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = text;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    known.set(text, [r, g, b, a / 255]);
    return known.get(text);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => part * a + below[i] * (1 - a));
  const light = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const found = [];
  for (const node of document.body.querySelectorAll('*')) {
    const own = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.data.trim()).join('');
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (!own || box.width < 2 || box.height < 2 || !node.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) || node.disabled) continue;
    const ground = behind(node), ink = light(over(parts(style.color), ground)), paper = light(ground);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), size = parseFloat(style.fontSize);
    const is_large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (is_large ? 3 : 4.5)) found.push(`"${own.slice(0, 30)}" ${contrast.toFixed(2)}`);
  }
  return found;
});

async function must_be_readable(page, what) {
  equal((await hard_to_read(page)).join(), '', `too little contrast, ${what}`);
  /* The measure itself: letters that can hardly be seen must be found. */
  await page.evaluate(() => {
    const planted = Object.assign(document.createElement('p'), {id: 'planted', textContent: 'planted'});
    planted.style.color = 'rgb(128 128 128 / 30%)';
    document.querySelector('header').append(planted);
  });
  const planted = (await hard_to_read(page)).length;
  await page.evaluate(() => document.getElementById('planted').remove());
  must(planted > 0, 'grey on grey is not found');
}

/* ---- /metrics ---- */

async function metrics() {
  const text = await (await fetch(new URL('/metrics', URL_BASE))).text();
  const rows = new Map();
  for (const line of text.split('\n')) {
    const row = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/i.exec(line);
    if (row) rows.set(row[1], Number(row[2]));
  }
  return rows;
}

const sum_of = (rows, name) => [...rows].filter(([key]) => key === name || key.startsWith(`${name}{`)).reduce((sum, [, value]) => sum + value, 0);

/* ---- cases ---- */

async function clicks_change_the_list({page}) {
  await shot(page, 'desktop-light-stranger');
  const before = await list_of(page);
  must(before.length >= 10, `a stranger sees ${before.length} products`);
  const times = [];
  const chosen = before[2];
  times.push(await until_updated(page, () => page.click(`#picks li[data-item="${chosen.item}"] button`)));
  equal(await page.textContent('#product-title'), chosen.title, 'the product opened');
  let now = await list_of(page);
  for (let i = 0; i < 4; i++) {
    await page.waitForSelector('#shelf li button');
    times.push(await until_updated(page, () => page.click(`#shelf li:nth-child(${i + 2}) button`)));
  }
  const later = await list_of(page);
  must(now.map(({item}) => item).join() !== before.map(({item}) => item).join(), 'the list is the same after a click');
  must(later.map(({item}) => item).join() !== now.map(({item}) => item).join(), 'the list is the same after four more');
  const reasons = (list) => list.map(({item, kind, reason}) => `${item} ${kind} ${reason}`).join();
  must(reasons(later) !== reasons(before), 'the reasons are the same');
  must(later.every(({reason}) => reason), `a product has no reason: ${JSON.stringify(later.find(({reason}) => !reason))}`);
  const served = await ask(`/v1/recommend/${encodeURIComponent(await page.inputValue('#user'))}?n=20`);
  equal(later.map(({item}) => item).join(), served.items.map(({item_id}) => item_id).join(), 'the list on the page and in the API');
  console.log(`  click to list in the browser: ${times.join(', ')} ms`);
  await sleep(500);
  await shot(page, 'desktop-light');
  await must_be_readable(page, 'light');
}

async function orders({page}) {
  const user = await page.inputValue('#user');
  await page.click('#shelf li:nth-child(6) button');
  await page.waitForSelector('#add-to-cart');
  await until_updated(page, () => page.click('#add-to-cart'));
  const first = await page.textContent('#product-title');
  await page.click('#shelf li:nth-child(9) button');
  await page.waitForFunction((title) => document.getElementById('product-title').textContent !== title, first);
  await until_updated(page, () => page.click('#add-to-cart'));
  const second = await page.textContent('#product-title');
  equal(await page.textContent('#cart-count'), '2', 'products in the cart');
  await page.click('#cart-open');
  const rows = await page.$$eval('#cart-items li', (list) => list.map((row) => row.dataset.item));
  await page.waitForFunction(() => document.getElementById('cart').getAnimations().length === 0);
  await shot(page, 'desktop-light-cart');
  await until_updated(page, () => page.click('#cart-buy'));
  equal(await page.textContent('#cart-count'), '0', 'the cart after the order');
  const list = await list_of(page);
  must(!list.some(({item}) => rows.includes(item)), 'what was bought is still in the list');
  /* Now each is what customers bought together with the other. */
  await page.waitForFunction(async ([item, other]) => {
    const answer = await (await fetch(`/v1/related/${item}?kind=bought_together`)).json();
    return answer.items.some(({item_id}) => item_id === other);
  }, rows, {timeout: PATIENCE_MS, polling: 100});
  await page.fill('#search', first);
  await page.waitForSelector(`#shelf li[data-item="${rows[0]}"]`);
  await page.click(`#shelf li[data-item="${rows[0]}"] button`);
  await page.waitForSelector(`#related li[data-item="${rows[1]}"]`, {timeout: PATIENCE_MS});
  console.log(`  ${user} bought ${first} and ${second} in one order`);
  await page.fill('#search', '');
}

/* Somebody else buys what is looked at here, with another product: that one appears without a click of ours. */
async function others_change_what_is_seen({page, bad}) {
  const [seen, ...others] = (await ask('/v1/items?n=40')).items.map(({item_id}) => item_id).reverse();
  const before = (await ask(`/v1/related/${seen}?kind=bought_together`)).items.map(({item_id}) => item_id);
  const other = others.find((item) => !before.includes(item));
  await page.goto(`${URL_BASE}#${seen}`);
  await page.reload();
  await page.waitForSelector('#related');
  /* Left with requests in work: the browser ends them. */
  for (let i = bad.length - 1; i >= 0; i--) if (/ERR_ABORTED/.test(bad[i])) bad.splice(i, 1);
  await page.click('#product .chip[data-kind=bought_together]');
  await page.waitForSelector('#related[aria-busy=false]');
  /* Products that are only like it may stand there; the page marks them. */
  const partner = `#related li[data-item="${other}"]:not([data-like])`;
  must((await page.$(partner)) === null, 'they were bought together before');
  const bought = await fetch(new URL('/v1/events', URL_BASE), {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(
    {event_type: 'purchase', user_id: 'somebody', order_id: 'other-1', items: [{item_id: seen}, {item_id: other}]})});
  equal(bought.status, 202, 'the order of somebody else');
  const at = Date.now();
  await page.waitForSelector(partner, {timeout: PATIENCE_MS});
  console.log(`  seen ${Date.now() - at} ms after the order was acknowledged`);
}

/* What a screen reader says of each control, and what the server allows the page to load. */
async function names_and_policy({page}) {
  const nameless = await page.$$eval('button, input', (nodes) => nodes.filter((node) =>
    !(node.getAttribute('aria-label') || node.labels?.[0]?.textContent || node.textContent).trim()).map((node) => node.outerHTML));
  equal(nameless.join(), '', 'controls without a name');
  const policy = (await fetch(URL_BASE)).headers.get('content-security-policy') ?? '';
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"])
    must(policy.includes(part), `the policy has no ${part}: ${policy}`);
  must(!policy.includes('unsafe'), `the policy is loose: ${policy}`);
}

/* Names that Grafana's board asks for are in what the running program says. */
async function the_board_knows_the_metrics() {
  const board = await readFile(new URL('../../deploy/grafana/freshet.json', import.meta.url), 'utf8');
  const asked = new Set(board.match(/\b(?:freshet|process)_[a-z_]+/g));
  const said = new Set([...(await metrics()).keys()].map((key) => key.replace(/\{.*/, '')));
  const missing = [...asked].filter((name) => !said.has(name));
  equal(missing.join(), '', 'metrics of the board that /metrics has not');
  must(asked.size > 20, `the board asks for ${asked.size} metrics only`);
}

async function searches({page}) {
  const some = (await ask('/v1/items?n=5')).items[3];
  const word = some.title.split(' ')[2].slice(0, 4).toLowerCase();
  await page.fill('#search', word);
  await page.waitForFunction((text) => document.getElementById('shelf-head').textContent.includes(text), word);
  await page.waitForFunction((text) => [...document.querySelectorAll('#shelf .title')].every((title) =>
    title.textContent.toLowerCase().split(/\W+/).some((one) => one.startsWith(text))), word);
  const found = await page.$$eval('#shelf li', (rows) => rows.length);
  const served = (await ask(`/v1/items?query=${word}&n=24`)).items.length;
  equal(found, served, `products with "${word}"`);
  await page.fill('#search', 'zzqx');
  await page.waitForFunction(() => document.getElementById('shelf-note').textContent.startsWith('nothing'));
  await page.fill('#search', '');
  await page.click('#categories .chip:nth-child(3)');
  const category = await page.getAttribute('#categories .chip:nth-child(3)', 'data-category');
  const expected = (await ask(`/v1/items?category=${category}&n=24`)).items.map(({item_id}) => item_id).join();
  await page.waitForFunction((items) => [...document.querySelectorAll('#shelf li')].map((row) => row.dataset.item).join() === items, expected);
  await page.click('#categories .chip:first-child');
}

/* Nobody else is in the shop now: the numbers stand still, and must be those of /metrics. */
async function numbers_are_right({page}) {
  process.kill(Number(process.env.FRESHET_TEST_PAGE_CROWD), 'SIGTERM');
  await sleep(3500);
  const shown = await page.evaluate(() => {
    const text = (id) => document.getElementById(id).textContent.replaceAll(',', '');
    const pairs = [...document.querySelectorAll('#m-quality .pair')].map((pair) =>
      [pair.dataset.type, pair.querySelector('.pair-head .soft').textContent.replaceAll(',', ''), ...[...pair.querySelectorAll('.pair-row .num')].map((node) => node.textContent)]);
    return {letters: text('m-letters'), lag: text('m-lag'), events: text('m-events'), p50: text('m-p50'), p99: text('m-p99'), pairs};
  });
  const rows = await metrics();
  equal(Number(shown.letters), sum_of(rows, 'freshet_dead_letters_total'), 'dead letters');
  equal(Number(shown.lag), rows.get('freshet_lag_records'), 'lag');
  equal(Number(shown.events), 0, 'events a second when nothing comes');
  for (const [text, q] of [[shown.p50, 0.5], [shown.p99, 0.99]]) {
    const ms = rows.get(`freshet_event_to_publish_recent_seconds{quantile="${q}"}`) * 1000;
    const same = ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
    must(ms > 0, `p${q * 100} in /metrics is ${ms} ms`);
    equal(text, same, `p${q * 100}`);
  }
  must(shown.pairs.length > 0, 'no quality is shown');
  for (const [type, count, ours, theirs] of shown.pairs) {
    const events = rows.get(`freshet_quality_events_total{event_type="${type}"}`);
    const percent = (arm) => `${((100 * rows.get(`freshet_quality_hits_total{event_type="${type}",arm="${arm}"}`)) / events).toFixed(1)}%`;
    equal(Number(count), events, `${type}s judged`);
    equal(ours, percent('list'), `HR@20 of lists, ${type}`);
    equal(theirs, percent('popular'), `HR@20 of popularity, ${type}`);
  }
  console.log(`  p50 ${shown.p50}, p99 ${shown.p99}, ${shown.pairs.map((pair) => pair.join(' ')).join('; ')}`);
}

/* No mouse: to a product, into the cart, the order, search. Focus must be seen wherever it stands. */
async function keyboard_alone({page}) {
  const seen = () => page.evaluate(() => {
    const node = document.activeElement, style = getComputedStyle(node);
    return {id: node.id, name: node.className, item: node.dataset.item, is_seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
  });
  const tab_to = async (fits, what) => {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press('Tab');
      const now = await seen();
      must(now.is_seen, `the focus on ${now.id || now.name} cannot be seen`);
      if (fits(now)) return now;
    }
    throw new Wrong(`80 tabs do not lead to ${what}`);
  };
  await tab_to(({name}) => name === 'pick', 'the list');
  await page.keyboard.press('ArrowDown');
  const chosen = await seen();
  await until_updated(page, () => page.keyboard.press('Enter'));
  await page.waitForFunction(() => document.activeElement.id === 'product-title');
  equal(await page.evaluate(() => decodeURIComponent(location.hash.slice(1))), chosen.item, 'the product opened');
  await page.waitForFunction(() => /^For you changed .* after your click/.test(document.getElementById('announce').textContent));
  await tab_to(({id}) => id === 'add-to-cart', 'Add to cart');
  await until_updated(page, () => page.keyboard.press('Enter'));
  for (let i = 0; (await seen()).id !== 'cart-open' && i < 80; i++) await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#cart[open]');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#cart:not([open])', {state: 'attached'});
  await page.keyboard.press('Enter');
  await tab_to(({id}) => id === 'cart-buy', 'Buy');
  await until_updated(page, () => page.keyboard.press('Enter'));
  await shot(page, 'desktop-light-keyboard');
}

async function says_when_away({page, bad, context}) {
  await context.route('**/v1/stream*', (route) => route.abort());
  await page.click('#user-new');
  await page.waitForSelector('#away:not([hidden])');
  await page.waitForSelector('#link[data-state=away]');
  await shot(page, 'desktop-light-away');
  await context.unroute('**/v1/stream*');
  await page.waitForSelector('#link[data-state=live]', {timeout: PATIENCE_MS});
  must(await page.isHidden('#away'), 'the banner stays');
  /* The browser itself notes the requests that this case broke. */
  for (let i = bad.length - 1; i >= 0; i--) if (/ERR_FAILED/.test(bad[i])) bad.splice(i, 1);
}

async function fits_a_phone({page}) {
  const fits = async (what) => {
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    must(wide <= room, `${what} is ${wide} px wide on a screen of ${room}`);
  };
  await fits('the shop');
  await until_updated(page, () => page.tap('#picks li:nth-child(2) button'));
  await sleep(500);
  await fits('a product');
  await shot(page, 'phone-product');
  await page.tap('.tabs [data-tab=live]');
  await sleep(1500);
  await fits('the dashboard');
  await shot(page, 'phone-live');
  await must_be_readable(page, 'on a phone');
  await page.tap('.tabs [data-tab=you]');
  await fits('the person');
  await shot(page, 'phone-you');
  const small = await page.$$eval('button', (buttons) => buttons.filter((button) => {
    const box = button.getBoundingClientRect();
    return box.width > 0 && (box.width < 24 || box.height < 24);
  }).map((button) => button.textContent));
  equal(small.join(), '', 'buttons smaller than 24 px');
}

async function looks_right_in_the_dark({page}) {
  await until_updated(page, () => page.click('#picks li:nth-child(4) button'));
  await until_updated(page, () => page.click('#shelf li:nth-child(3) button'));
  await sleep(600);
  await shot(page, 'desktop-dark');
  await must_be_readable(page, 'dark');
}

async function stands_still({page}) {
  await until_updated(page, () => page.click('#picks li:nth-child(3) button'));
  const moving = await page.evaluate(() => document.getAnimations().filter((one) => one.effect.getTiming().duration > 50).length);
  equal(moving, 0, 'animations when less motion is wanted');
}

const PHONE = {viewport: {width: 360, height: 740}, deviceScaleFactor: 2, isMobile: true, hasTouch: true};
const VISITS = [
  ['ada', DESKTOP, [names_and_policy, the_board_knows_the_metrics, clicks_change_the_list, orders, searches, others_change_what_is_seen]],
  ['grace', DESKTOP, [keyboard_alone]],
  ['alan', {...DESKTOP, colorScheme: 'dark'}, [looks_right_in_the_dark]],
  ['edsger', {...DESKTOP, reducedMotion: 'reduce'}, [stands_still]],
  ['barbara', PHONE, [fits_a_phone]],
  ['donald', DESKTOP, [says_when_away]],
  ['tony', DESKTOP, [numbers_are_right]],
];

let passed = 0, failed = 0;
const browser = await chromium.launch({executablePath: process.env.FRESHET_TEST_PAGE_CHROMIUM, args: CHROMIUM_ARGS});
for (const [user, options, cases] of VISITS) {
  const window = await visit(browser, {...options, locale: 'en'}, user);
  for (const one of cases) {
    try {
      await one(window);
      must(window.bad.length === 0, window.bad.join('; '));
      passed++;
      console.log(`ok ${one.name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${one.name}: ${error instanceof Wrong ? error.message : error.stack}`);
      await shot(window.page, `failed-${one.name}`).catch(() => {});
    }
    window.bad.length = 0;
  }
  await window.context.close();
}
await browser.close();
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
