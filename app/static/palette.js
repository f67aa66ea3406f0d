/* The search over everything (Ctrl-K): screens and actions at once, rows from the server while one types. */
(() => {
  'use strict';

  const opener = document.querySelector('[data-palette]');
  if (!opener) return;
  const { word, icon, made, mod, token } = window.Douzhou;
  const dialog = made(`<dialog class="dialog palette" id="palette" aria-label="${word('palette_title')}">
    <div class="palette-top">
      <i class="icon i-search"></i>
      <input class="palette-text" type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list" autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="100" placeholder="${word('palette_hint')}" aria-label="${word('palette_title')}">
      <span class="palette-wait" hidden><i class="icon i-loader-2"></i></span>
      <button type="button" class="btn btn-icon btn-sm palette-close" data-close-dialog aria-label="${word('close')}"><i class="icon i-x"></i></button>
    </div>
    <div class="palette-list" id="palette-list" role="listbox" aria-label="${word('palette_results')}"></div>
    <p class="palette-state" role="status" aria-live="polite"></p>
    <p class="palette-keys" aria-hidden="true"><span><kbd>↑</kbd><kbd>↓</kbd>${word('palette_choose')}</span><span><kbd>Enter</kbd>${word('palette_open')}</span><span><kbd>Tab</kbd>${word('palette_operations')}</span><span><kbd>Esc</kbd>${word('close')}</span><span><kbd>?</kbd>${word('palette_all_keys')}</span></p>
  </dialog>`);
  document.body.append(dialog);
  const field = dialog.querySelector('.palette-text');
  const list = dialog.querySelector('.palette-list');
  const state = dialog.querySelector('.palette-state');
  const wait = dialog.querySelector('.palette-wait');
  const RECENT = 'douzhou.recent';
  const KEPT = 8;
  const DELAY = 140;
  const logout = document.querySelector('form[action*="logout"]');

  document.querySelectorAll('[data-mod-key]').forEach((key) => { key.textContent = mod(key.dataset.modKey); });

  // What was opened from here: address, title and kind, of this reader on this browser, until they log out.

  function recent() {
    try {
      const held = JSON.parse(localStorage.getItem(RECENT));
      if (held.reader === opener.dataset.reader) return held.items.filter((item) => /^\/(?!\/)/.test(item.url));
    } catch { /* nothing kept, or not by us */ }
    return [];
  }

  function keep({ url, title, icon: picture, group }) {
    if (!url) return;
    const items = [{ url, title, icon: picture, kind: group }, ...recent().filter((item) => item.url !== url)].slice(0, KEPT);
    try { localStorage.setItem(RECENT, JSON.stringify({ reader: opener.dataset.reader, items })); } catch { /* storage is full or off */ }
  }

  // The page of a row is one, however it was come to.
  const heading = /\/show\/\d+$/.test(location.pathname) && document.querySelector('main h1');
  if (heading) {
    const held = recent().find((item) => item.url === location.pathname);
    const here = document.querySelector('.side [aria-current=page] .icon');
    const picture = here && Array.from(here.classList, (name) => name.replace(/^i-/, '')).find((name) => name !== 'icon');
    keep({ url: location.pathname, title: heading.textContent.trim(), icon: held?.icon || picture || 'point', group: held?.kind || '' });
  }

  document.addEventListener('submit', (event) => { if (event.target === logout) localStorage.removeItem(RECENT); });

  // Screens and actions: asked for once on a page.

  let start = null;
  function started() {
    start ??= ask(opener.dataset.start).catch((fault) => { start = null; throw fault; });
    return start;
  }

  function ask(url, signal) {
    return fetch(url, { headers: { Accept: 'application/json' }, credentials: 'same-origin', signal }).then((answer) => {
      if (answer.redirected && new URL(answer.url).pathname.startsWith('/login')) { location.reload(); }
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    });
  }

  function own() {
    const page = document.documentElement;
    const dark = page.dataset.bsTheme === 'dark';
    const found = [
      { title: word(dark ? 'palette_light' : 'palette_dark'), icon: dark ? 'sun' : 'moon', does: () => document.querySelector(`[data-set=theme][data-value=${dark ? 'light' : 'dark'}]`)?.click() },
      { title: word('palette_keys'), icon: 'keyboard', does: () => document.getElementById('keys')?.showModal() },
    ];
    if (logout) found.push({ title: word('palette_logout'), icon: 'logout', does: () => logout.requestSubmit() });
    return found;
  }

  // What is shown: `rows` in order, one of them chosen.

  let rows = [];
  let chosen = 0;
  let inside = null; // the row whose operations are shown

  // Wide letters and signs are the narrow ones, capitals the small ones. Each letter by itself, so that places stay.
  const plain = (text) => Array.from(text, (letter) => {
    const made = letter.normalize('NFKC').toLowerCase();
    return made.length === letter.length ? made : letter;
  }).join('');
  const fits = (item, text) => plain(item.title).includes(text) || plain(item.group || '').includes(text);

  function marked(text, wanted) {
    const place = document.createElement('span');
    const at = wanted ? plain(text).indexOf(plain(wanted)) : -1;
    if (at < 0) { place.textContent = text; return place; }
    const mark = document.createElement('mark');
    mark.textContent = text.slice(at, at + wanted.length);
    place.append(text.slice(0, at), mark, text.slice(at + wanted.length));
    return place;
  }

  function line(item, at, wanted) {
    const place = document.createElement('div');
    place.className = `palette-item${item.danger ? ' danger' : ''}`;
    place.id = `palette-${at}`;
    place.setAttribute('role', 'option');
    place.dataset.at = at;
    const words = document.createElement('span');
    words.className = 'palette-words';
    words.append(marked(item.title, wanted));
    if (item.hint) {
      const hint = marked(item.hint, wanted);
      hint.className = 'palette-hint';
      words.append(hint);
    }
    place.append(icon(item.icon || 'point'), words);
    if (item.url && item.actions?.length) place.append(more());
    if (item.key) {
      const keys = document.createElement('span');
      keys.className = 'palette-more';
      keys.append(...['g', item.key].map((text) => Object.assign(document.createElement('kbd'), { textContent: text })));
      place.append(keys);
    }
    return place;
  }

  function more() {
    const place = document.createElement('span');
    place.className = 'palette-more palette-tab';
    place.append(Object.assign(document.createElement('kbd'), { textContent: 'Tab' }), word('palette_operations'));
    return place;
  }

  function show(groups, wanted = '') {
    rows = [];
    const fresh = document.createDocumentFragment();
    groups.filter(([, items]) => items.length).forEach(([title, items]) => {
      const head = document.createElement('div');
      head.className = 'palette-group';
      head.setAttribute('role', 'presentation');
      head.textContent = title;
      if (title) fresh.append(head);
      items.forEach((item) => { fresh.append(line(item, rows.length, wanted)); rows.push(item); });
    });
    list.replaceChildren(fresh);
    list.hidden = !rows.length;
    list.scrollTop = 0;
    choose(0);
  }

  function choose(at) {
    chosen = Math.max(0, Math.min(rows.length - 1, at));
    list.querySelectorAll('.palette-item').forEach((place, number) => {
      place.setAttribute('aria-selected', String(number === chosen));
      if (number === chosen) {
        field.setAttribute('aria-activedescendant', place.id);
        place.scrollIntoView({ block: 'nearest' });
      }
    });
    if (!rows.length) field.removeAttribute('aria-activedescendant');
  }

  const grouped = (items) => {
    const groups = new Map();
    items.forEach((item) => groups.set(item.group || '', [...(groups.get(item.group || '') || []), item]));
    return [...groups];
  };

  // Searching.

  let timer = 0;
  let asking = null;
  let shown = ''; // the text that the list answers

  function local(text, found) {
    const { screens, actions } = found;
    if (!text) return [[word('palette_recent'), recent().filter((item) => item.url !== location.pathname)], [word('palette_screens'), screens], [word('palette_actions'), [...actions, ...own()]]];
    const small = plain(text);
    return [[word('palette_screens'), screens.filter((item) => fits(item, small))],
      [word('palette_actions'), [...actions, ...own()].filter((item) => fits(item, small))]];
  }

  async function look() {
    const text = field.value.trim();
    clearTimeout(timer);
    asking?.abort();
    inside = null;
    let here = { screens: [], actions: [] };
    try { here = await started(); } catch { state.textContent = word('error_network'); }
    if (field.value.trim() !== text) return;
    show(local(text, here), text);
    state.textContent = '';
    shown = text;
    if (!text) { wait.hidden = true; return; }
    wait.hidden = false;
    timer = setTimeout(() => remote(text, local(text, here)), DELAY);
  }

  async function remote(text, before) {
    const mine = asking = new AbortController();
    try {
      const url = new URL(opener.dataset.search, location.href);
      url.searchParams.set('q', text);
      url.searchParams.set('at', location.pathname);
      const found = await ask(url, mine.signal);
      if (mine.signal.aborted || shown !== text) return;
      const held = rows[chosen]?.url;
      const last = found.items.filter((item) => item.icon === 'search');
      show([...grouped(found.items.filter((item) => item.icon !== 'search')), ...before, ...grouped(last)], text);
      const again = rows.findIndex((item) => item.url && item.url === held);
      if (again > 0 && chosenByHand) choose(again);
      state.textContent = rows.length ? '' : word('no_results');
    } catch (fault) {
      if (fault.name !== 'AbortError') state.textContent = word(navigator.onLine ? 'error_server' : 'error_network');
    } finally {
      if (asking === mine) wait.hidden = true;
    }
  }

  // Opening.

  function open(item, event) {
    if (!item) return;
    if (item.does) { dialog.close(); item.does(); return; }
    if (item.post) { dialog.close(); send(item); return; }
    if (!item.url) { enter(item); return; }
    if (!inside && item.icon !== 'search') keep(item);
    if (event && (event.ctrlKey || event.metaKey)) { window.open(item.url, '_blank', 'noopener'); return; }
    location.href = item.url;
  }

  async function send(item) {
    if (!(await window.Douzhou.confirmed(item.title, { dangerous: false }))) return;
    const form = Object.assign(document.createElement('form'), { method: 'post', action: item.post, hidden: true });
    form.append(Object.assign(document.createElement('input'), { name: 'csrf_token', value: token() }));
    document.body.append(form);
    form.submit();
  }

  function enter(item) {
    if (!item?.actions?.length || inside) return false;
    inside = item;
    show([[item.title, item.actions.map((action) => ({ ...action, icon: item.url ? 'bolt' : 'search' }))]]);
    return true;
  }

  function leave() {
    if (!inside) return false;
    inside = null;
    look();
    return true;
  }

  let chosenByHand = false;
  field.addEventListener('input', () => { chosenByHand = false; look(); });
  dialog.addEventListener('keydown', (event) => {
    if (event.isComposing) return;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in steps) {
      chosenByHand = true;
      const wraps = Math.abs(steps[event.key]) === 1 && rows.length;
      choose(wraps ? (chosen + steps[event.key] + rows.length) % rows.length : chosen + steps[event.key]);
    } else if (event.key === 'Enter') {
      open(rows[chosen], event);
    } else if (event.key === 'Tab' && !event.shiftKey) {
      enter(rows[chosen]);
    } else if (event.key === 'ArrowRight' && field.selectionStart === field.value.length && enter(rows[chosen])) {
      // the operations of the row
    } else if ((event.key === 'ArrowLeft' || event.key === 'Escape' || (event.key === 'Tab' && event.shiftKey)) && leave()) {
      // back to the results
    } else if (event.key === '?' && !field.value) {
      dialog.close();
      document.getElementById('keys')?.showModal();
    } else return;
    event.preventDefault();
  });
  list.addEventListener('click', (event) => {
    const place = event.target.closest('.palette-item');
    if (place) open(rows[Number(place.dataset.at)], event);
  });
  list.addEventListener('mousemove', (event) => {
    const place = event.target.closest('.palette-item');
    if (place && Number(place.dataset.at) !== chosen) { chosenByHand = true; choose(Number(place.dataset.at)); }
  });

  function begin() {
    if (dialog.open || document.querySelector('dialog[open]')) return;
    field.value = '';
    dialog.showModal();
    field.focus();
    look();
  }
  dialog.addEventListener('close', () => { clearTimeout(timer); asking?.abort(); wait.hidden = true; });

  document.addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('[data-palette]')) begin();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key.toLowerCase() !== 'k' || !(mod.mac ? event.metaKey : event.ctrlKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (dialog.open) dialog.close(); else begin();
  });

  window.DouzhouPalette = { begin, started };
})();
