'use strict';

const form = document.getElementById('form');
const query = document.getElementById('query');
const key = document.getElementById('key');
const status = document.getElementById('status');
const NAMES = {next: 'NEXT', self: 'SELF', bm25: 'BM25'};
const LONGEST = 600;

let found = null;
let running = null;
let timer = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function hit(one, rank, chosen) {
  const item = element('li');
  item.append(element('h3', `${rank}. ${one.title || one.id}`));
  const text = one.text.length > LONGEST ? one.text.slice(0, LONGEST) + '…' : one.text;
  item.append(element('p', text));
  const scores = element('dl');
  for (const [name, score] of Object.entries(one.scores)) {
    const pair = element('div', undefined, name === chosen ? 'chosen' : '');
    const value = score === null ? '–' : score.toFixed(name === 'bm25' ? 2 : 3);
    pair.append(element('dt', NAMES[name]), element('dd', value));
    scores.append(pair);
  }
  item.append(scores);
  return item;
}

function show() {
  const mode = new FormData(form).get('mode');
  const fill = (list, name) => document.getElementById(list).replaceChildren(
      ...(found ? found[name].map((one, i) => hit(one, i + 1, name)) : []));
  fill('meaning', mode);
  fill('words', 'bm25');
}

async function search() {
  clearTimeout(timer);
  if (running) running.abort();
  const text = query.value.trim();
  if (!text) {
    found = null;
    status.textContent = '';
    show();
    return;
  }
  const mine = running = new AbortController();
  const begin = performance.now();
  status.textContent = 'Searching…';
  try {
    const headers = key.value ? {Authorization: 'Bearer ' + key.value} : {};
    const response = await fetch('search?q=' + encodeURIComponent(text), {headers, signal: mine.signal});
    const answer = await response.json();
    if (!response.ok) {
      if (response.status === 401) document.getElementById('key-row').hidden = false;
      throw new Error(answer.error);
    }
    found = answer;
    show();
    const passages = new Set([...found.next, ...found.self, ...found.bm25].map(one => one.id)).size;
    status.textContent = `${passages} passages in ${Math.round(performance.now() - begin)} ms`;
  } catch (error) {
    if (error.name === 'AbortError') return;
    found = null;
    show();
    status.textContent = 'No answer: ' + error.message;
  }
}

form.addEventListener('submit', event => {
  event.preventDefault();
  search();
});
query.addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(search, 250);
});
form.addEventListener('change', event => {
  if (event.target.name === 'mode') show();
});
