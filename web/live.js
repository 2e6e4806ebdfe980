/* The stream of lists and numbers (GET /v1/stream, server-sent events), opened again with back-off when it breaks.
 *
 * fetch instead of EventSource: it can carry a token, and it lets us take the time at which bytes arrived before anything is
 * done with them. */
import {error_of, headers} from './api.js';

const BACK_OFF_MS = {first: 500, most: 15000};
const SILENCE_MS = 20000; /* metrics come each second: longer is a dead connection */
const BUFFER_MAX = 4 << 20;

/* Cuts a stream of text into events. take(name, data) is called for each whole one. */
export function event_reader(take) {
  let rest = '';
  return (text) => {
    rest += text;
    if (rest.length > BUFFER_MAX) throw new Error('an event without end');
    for (;;) {
      const end = /\r?\n\r?\n/.exec(rest);
      if (!end) return;
      const block = rest.slice(0, end.index);
      rest = rest.slice(end.index + end[0].length);
      let name = 'message';
      const data = [];
      for (const line of block.split(/\r?\n/)) {
        if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      }
      if (data.length) take(name, data.join('\n'));
    }
  };
}

export class Live {
  /* on: {list(data, arrived), ..., status({state: 'live'|'connecting'|'away', retry_at, why})}. arrived is in
   * performance.now()'s time. */
  constructor(on) {
    this.on = on;
    this.tries = 0;
    this.user = null;
    addEventListener('online', () => this.retry());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.timer) this.retry();
    });
  }

  follow(user) {
    this.user = user;
    this.tries = 0;
    this.open();
  }

  /* At once, when a person or the network says that it is worth a try. */
  retry() {
    if (this.user === null || !this.timer) return;
    this.open();
  }

  async open() {
    clearTimeout(this.timer);
    this.timer = null;
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    this.on.status({state: 'connecting'});
    let why;
    try {
      await this.read(abort);
      why = 'the server ended the stream';
    } catch (error) {
      why = error.status === 401 ? 'token' : error.message;
    }
    if (this.abort === abort) this.away(why);
  }

  async read(abort) {
    const types = 'list,related,trending,metrics';
    const path = `/v1/stream?user=${encodeURIComponent(this.user)}&types=${types}`;
    const response = await fetch(path, {headers: headers({Accept: 'text/event-stream'}), signal: abort.signal, cache: 'no-store'});
    if (!response.ok) throw await error_of(response);
    this.tries = 0;
    this.on.status({state: 'live'});
    const bytes = response.body.getReader();
    const decoder = new TextDecoder();
    let arrived = 0;
    const feed = event_reader((name, data) => this.take(name, data, arrived));
    for (;;) {
      const silence = setTimeout(() => abort.abort(new Error('the stream fell silent')), SILENCE_MS);
      const {done, value} = await bytes.read().finally(() => clearTimeout(silence));
      arrived = performance.now();
      if (done) return;
      feed(decoder.decode(value, {stream: true}));
    }
  }

  take(name, data, arrived) {
    const act = this.on[name];
    if (!act || name === 'status') return;
    act(JSON.parse(data), arrived);
  }

  /* Twice as long each time, from half to the whole of it by chance, so that pages do not come back all at once. */
  away(why) {
    const most = Math.min(BACK_OFF_MS.most, BACK_OFF_MS.first * 2 ** this.tries);
    const wait = most / 2 + (Math.random() * most) / 2;
    this.tries++;
    this.timer = setTimeout(() => this.open(), wait);
    this.on.status({state: 'away', retry_at: Date.now() + wait, why});
  }
}
