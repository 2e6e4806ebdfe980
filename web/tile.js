/* A product's picture: a department's line drawing on its colour. A shop that has no such department gets initials. */
import {svg, el} from './dom.js';

/* 24 x 24, strokes only. */
const DRAWINGS = {
  kitchen: 'M6 9h10v7a3 3 0 0 1-3 3H9a3 3 0 0 1-3-3zM16 10h2a2 2 0 0 1 0 5h-2M9 6c0-1 1-1 1-2M13 6c0-1 1-1 1-2',
  garden: 'M12 20v-8M12 12c0-4 3-6 7-6 0 4-3 6-7 6M12 14c0-3-2.500-5-6-5 0 3 2.500 5 6 5M8 20h8',
  audio: 'M5 15v-2a7 7 0 0 1 14 0v2M5 15h3v5H6a1 1 0 0 1-1-1zM19 15h-3v5h2a1 1 0 0 0 1-1z',
  computing: 'M5 6h14v9H5zM3 18h18M10 15v3M14 15v3',
  outdoor: 'M12 5 3 19h18zM12 5v0M12 12l-4 7M12 12l4 7',
  clothing: 'M9 5 4 8l2 4 2-1v8h8v-8l2 1 2-4-5-3a3 3 0 0 1-6 0',
  toys: 'M5 12h6v7H5zM13 12h6v7h-6zM9 5h6v7H9z',
  sport: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M5 8c4 2 4 6 0 8M19 8c-4 2-4 6 0 8',
  beauty: 'M9 10h6v10H9zM10 10V6h4v4M12 6V4h4',
  books: 'M4 6c3-1 6-1 8 1 2-2 5-2 8-1v12c-3-1-6-1-8 1-2-2-5-2-8-1zM12 7v12',
  home: 'M4 12l8-7 8 7M6 11v8h12v-8M10 19v-5h4v5',
  pets: 'M12 13c-3 0-5 2.500-5 4.500S9 20 12 19c3 1 5 0 5-1.500S15 13 12 13M6 10v1M9.500 6v1.500M14.500 6v1.500M18 10v1',
};

const HUES = {kitchen: 35, garden: 140, audio: 290, computing: 250, outdoor: 165, clothing: 20, toys: 85, sport: 225,
              beauty: 350, books: 60, home: 195, pets: 110};

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619);
  return value >>> 0;
}

const department_of = (item) => (item.categories?.[0] ?? '').split('/')[0];

function drawing(path) {
  return svg('svg', {viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false'}, svg('path', {d: path}));
}

function initials(item) {
  const words = String(item.title || item.item_id).split(/\s+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0]).join('').toUpperCase();
}

/* Draws item into the tile; the colour moves a little with the brand. */
export function tile_draw(tile, item) {
  const department = department_of(item);
  const hue = (HUES[department] ?? hash(department || item.item_id) % 360) + (hash(item.brand || '') % 21) - 10;
  tile.style.setProperty('--hue', String(hue));
  tile.replaceChildren(DRAWINGS[department] ? drawing(DRAWINGS[department]) : el('span', {}, initials(item)));
}

export function tile(item) {
  const node = el('span', {class: 'tile', 'aria-hidden': 'true'});
  tile_draw(node, item);
  return node;
}
