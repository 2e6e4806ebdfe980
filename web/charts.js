/* Small charts: lines over the last two minutes, and a pair of bars. */
import {el, svg, say} from './dom.js';

const POINTS_MAX = 120; /* one a second */
const POINTS_MIN = 20; /* so many seconds fill the width at the beginning */
const WIDTH = 240, HEIGHT = 64;

/* 1, 2 or 5 times a power of ten, so that the top of the chart is a number to read. */
export function nice_top(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value);
}

function points(values, top) {
  const step = WIDTH / (Math.max(POINTS_MIN, values.length) - 1);
  const first = WIDTH - (values.length - 1) * step;
  return values.map((value, i) => [first + i * step, HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 4)]);
}

const path_of = (at) => at.map(([x, y], i) => `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');

function area_of(at) {
  if (at.length < 2) return '';
  return `${path_of(at)}L${at.at(-1)[0].toFixed(1)} ${HEIGHT}L${at[0][0].toFixed(1)} ${HEIGHT}Z`;
}

export class LineChart {
  /* names: one a line, the first is filled. text: a value in words. */
  constructor(label, names, text) {
    this.label = label;
    this.names = names;
    this.text = text;
    this.values = names.map(() => []);
    this.area = svg('path', {class: 'area'});
    this.lines = names.map((name, i) => svg('path', {class: `line line-${i}`}));
    this.plot = svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'},
                    this.area, ...this.lines);
    this.top = el('span', {class: 'chart-top'});
    this.node = el('div', {class: 'chart'}, this.plot, this.top);
  }

  add(values) {
    values.forEach((value, i) => {
      this.values[i].push(Number.isFinite(value) ? value : 0);
      if (this.values[i].length > POINTS_MAX) this.values[i].shift();
    });
    this.draw();
  }

  draw() {
    const top = nice_top(Math.max(...this.values.flat()));
    this.lines.forEach((line, i) => line.setAttribute('d', path_of(points(this.values[i], top))));
    this.area.setAttribute('d', area_of(points(this.values[0], top)));
    say(this.top, this.text(top));
    const last = this.names.map((name, i) => `${name} ${this.text(this.values[i].at(-1))}`).join(', ');
    this.plot.setAttribute('aria-label', `${this.label}, last ${this.values[0].length} seconds: now ${last}`);
  }
}

/* Two shares beside each other: ours and the one to beat. */
export class PairBars {
  constructor(name, text) {
    this.text = text;
    this.fill = [el('span', {class: 'bar bar-ours'}), el('span', {class: 'bar bar-theirs'})];
    this.value = [el('span', {class: 'num'}), el('span', {class: 'num'})];
    this.times = el('span', {class: 'times num'});
    this.count = el('span', {class: 'soft num'});
    this.node = el('div', {class: 'pair'},
      el('p', {class: 'pair-head'}, el('span', {}, name), this.count, this.times),
      el('p', {class: 'pair-row'}, el('span', {class: 'soft'}, 'lists'), el('span', {class: 'track'}, this.fill[0]), this.value[0]),
      el('p', {class: 'pair-row'}, el('span', {class: 'soft'}, 'popular'), el('span', {class: 'track'}, this.fill[1]), this.value[1]));
  }

  set(ours, theirs, top, count) {
    [ours, theirs].forEach((value, i) => {
      this.fill[i].style.setProperty('--share', String(top > 0 ? value / top : 0));
      say(this.value[i], this.text(value));
    });
    say(this.times, theirs > 0 ? `${(ours / theirs).toFixed(1)}×` : '');
    say(this.count, count);
  }
}
