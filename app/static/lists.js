/* Lists: the menu and the drawer of a row, cells edited in place, the panels, the keyboard. Ticks: picks.js. */
(() => {
  'use strict';

  const list = document.querySelector('[data-list]');
  const word = (key) => window.Douzhou.word(key);
  const toast = (text, tone) => window.Douzhou.toast(text, tone);
  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);
  const send = (url, body) => fetch(url, {
    method: body ? 'POST' : 'GET', body, credentials: 'same-origin',
    headers: { 'HX-Request': 'true', ...(body ? { 'X-CSRFToken': window.Douzhou.token() } : {}) },
  }).then((answer) => {
    if (answer.redirected && new URL(answer.url).pathname.startsWith('/login')) location.reload();
    return answer;
  });
  const failed = (answer) => toast(word(answer?.status ? `error_${answer.status >= 500 ? 'server' : answer.status}` : 'error_network'), 'bad');

  // A bulk edit: a field that is typed in is ticked.

  document.addEventListener('input', (event) => {
    const line = closest(event, '.bulk-line');
    const box = line?.querySelector('[data-bulk]');
    if (box && event.target !== box) box.checked = true;
  });

  if (!list) return;
  const base = list.dataset.list;
  const query = location.search;
  const rows = () => [...list.querySelectorAll('tbody tr[data-id]')];
  const show = (row) => `${base}/show/${row.dataset.id}`;

  // What only this script can use, put into the cells that the page leaves for it.

  const nameOf = (row) => (row.querySelector('.n a, .n b') || row.querySelector('.n'))?.textContent.trim() || row.dataset.id;

  function button(kind, label, title = label) {
    const made = Object.assign(document.createElement('button'), { type: 'button', className: `mini mini-${kind}`, title });
    made.setAttribute('aria-label', label);
    return made;
  }

  rows().forEach((row) => {
    row.tabIndex = -1;
    const name = nameOf(row);
    const [grip, tick, acts] = ['.grip', '.tick', '.acts'].map((kind) => row.querySelector(`:scope > ${kind}`));
    if (grip) {
      grip.append(button('grip', `${word('list_move')} ${name}`, word('list_drag')));
    }
    if (tick) {
      const box = Object.assign(document.createElement('input'), { type: 'checkbox', className: 'form-check-input', name: 'ids', value: row.dataset.id });
      box.setAttribute('aria-label', `${word('list_pick')} ${name}`);
      tick.append(box);
    }
    if ('show' in list.dataset) acts.append(button('eye', word('list_look')));
    acts.append(button('dots', word('list_more')));
    acts.lastChild.setAttribute('aria-haspopup', 'menu');
  });

  // The menu of a row.

  const menu = document.getElementById('row-menu');

  function place(button) {
    const box = button.getBoundingClientRect();
    menu.style.right = `${Math.max(8, document.documentElement.clientWidth - box.right)}px`;
    const below = box.bottom + menu.offsetHeight + 8 < window.innerHeight;
    menu.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - menu.offsetHeight - 4)}px`;
  }

  async function openMenu(button) {
    if (menu.matches(':popover-open') && menu.dataset.row === button.closest('tr').dataset.id) { menu.hidePopover(); return; }
    menu.dataset.row = button.closest('tr').dataset.id;
    menu.innerHTML = `<p class="none">${word('loading')}</p>`;
    menu.showPopover();
    place(button);
    const answer = await send(`${base}/menu/${menu.dataset.row}`).catch(() => null);
    if (!answer?.ok) { menu.hidePopover(); failed(answer); return; }
    menu.innerHTML = await answer.text();
    place(button);
    menu.querySelector('a')?.focus();
  }

  list.addEventListener('click', (event) => {
    const dots = closest(event, 'td .mini-dots');
    if (dots) openMenu(dots);
    const eye = closest(event, '.mini-eye');
    if (eye) openDrawer(eye.closest('tr'));
    const fold = closest(event, '[data-fold]');
    if (fold) {
      const part = document.getElementById(fold.dataset.fold);
      part.hidden = !part.hidden;
      fold.setAttribute('aria-expanded', String(!part.hidden));
    }
  });
  menu.addEventListener('keydown', (event) => {
    if (!['ArrowDown', 'ArrowUp'].includes(event.key)) return;
    const items = [...menu.querySelectorAll('a')];
    const at = items.indexOf(document.activeElement) + (event.key === 'ArrowDown' ? 1 : -1);
    items[(at + items.length) % items.length]?.focus();
    event.preventDefault();
  });
  window.addEventListener('scroll', () => { if (menu.matches(':popover-open')) menu.hidePopover(); }, true);

  // The drawer: a row's page beside the list.

  const mini = 'class="btn btn-icon btn-sm"';
  const drawer = window.Douzhou.made(`<dialog class="drawer" id="drawer" aria-label="${word('list_beside')}"><div class="drawer-bar">
    <a class="btn btn-sm" data-drawer-page href="#"><i class="icon i-arrows-maximize"></i>${word('list_whole')}</a>
    <span class="drawer-steps"><button type="button" ${mini} data-drawer-step="-1" aria-label="${word('list_before')}" title="${word('list_before')} (k)"><i class="icon i-chevron-up"></i></button><button type="button" ${mini} data-drawer-step="1" aria-label="${word('list_after')}" title="${word('list_after')} (j)"><i class="icon i-chevron-down"></i></button></span>
    <button type="button" ${mini} data-close-dialog aria-label="${word('close')}"><i class="icon i-x"></i></button></div><div id="drawer-body"></div></dialog>`);
  list.append(drawer);
  let asked = 0;

  async function openDrawer(row) {
    const body = document.getElementById('drawer-body');
    const turn = ++asked;
    drawer.querySelector('[data-drawer-page]').href = show(row);
    list.querySelector('tr.is-open')?.classList.remove('is-open');
    row.classList.add('is-open');
    if (!drawer.open) { body.innerHTML = ''; drawer.showModal(); }
    const wait = setTimeout(() => { body.innerHTML = '<div class="skeleton"><span></span><span></span><span></span><span></span></div>'; }, 300);
    const answer = await send(`${show(row)}?drawer=1`).catch(() => null);
    clearTimeout(wait);
    if (turn !== asked) return;
    if (!answer?.ok) { drawer.close(); failed(answer); return; }
    const found = new DOMParser().parseFromString(await answer.text(), 'text/html');
    found.querySelectorAll('link[rel=stylesheet]').forEach((sheet) => {
      const held = [...document.querySelectorAll('link[rel=stylesheet]')].some((item) => item.href === sheet.href);
      if (!held) document.head.append(sheet.cloneNode());
    });
    const content = found.querySelector('main') || found.body;
    body.replaceChildren(...[...content.childNodes].filter((node) => !['LINK', 'SCRIPT'].includes(node.nodeName)));
    window.htmx?.process(body);
    window.Douzhou.prepare(body);
    body.scrollTop = 0;
  }

  function step(way) {
    const found = rows();
    const next = found[found.findIndex((row) => row.classList.contains('is-open')) + way];
    if (next) { next.scrollIntoView({ block: 'nearest' }); openDrawer(next); return; }
    toast(word(way > 0 ? 'list_last_row' : 'list_first_row'), 'busy');
  }

  drawer.addEventListener('close', () => {
    const row = list.querySelector('tr.is-open');
    row?.classList.remove('is-open');
    row?.focus({ preventScroll: true });
  });
  drawer.addEventListener('click', (event) => {
    const button = closest(event, '[data-drawer-step]');
    if (button) step(Number(button.dataset.drawerStep));
  });

  // Panels: conditions, columns.

  const panel = document.getElementById('panel');

  list.addEventListener('click', async (event) => {
    const button = closest(event, '[data-panel]');
    if (!button) return;
    button.classList.add('htmx-request');
    const answer = await send(`${base}/${button.dataset.panel}/${query}`).catch(() => null);
    button.classList.remove('htmx-request');
    if (!answer?.ok) { failed(answer); return; }
    const body = document.getElementById('panel-body');
    body.innerHTML = await answer.text();
    panel.showModal();
    window.Douzhou.prepare(body);
    body.querySelectorAll('[data-ask]').forEach(fit);
  });

  // What a condition's operator needs.
  function fit(ask) {
    const op = ask.querySelector('[data-op]').value;
    const values = ask.querySelector('[data-values]');
    const needs = ['is', 'not', 'has', 'lacks', 'range', 'raw'].includes(op);
    values.hidden = !needs && !(op === 'any' && ['choice', 'flag', 'text', 'row', 'number'].includes(ask.dataset.kind));
    values.querySelectorAll('[data-to], [data-last]').forEach((item) => { item.hidden = op !== 'range'; });
    const raw = values.querySelector('[data-raw]');
    if (raw) {
      [...values.children].forEach((item) => { if (item !== raw) item.hidden = op === 'raw' || (item.matches('[data-to], [data-last]') && op !== 'range'); });
      raw.hidden = op !== 'raw';
    }
  }

  function quoted(text) {
    const escaped = text.trim().replace(/[\\,]/g, '\\$&');
    return /^[!=]/.test(escaped) ? `\\${escaped}` : escaped;
  }

  function written(ask) {
    const op = ask.querySelector('[data-op]').value;
    const { kind } = ask.dataset;
    const picks = ask.querySelector('select.remote');
    const typed = ask.querySelector('[data-first]')?.value.trim() || '';
    const until = ask.querySelector('[data-last]')?.value.trim() || '';
    const values = picks ? [...picks.selectedOptions].map((item) => item.value).filter(Boolean)
      : [...ask.querySelectorAll(':checked[type]')].map((box) => box.value);
    if (op === 'any') return '';
    if (op === 'blank') return '=';
    if (op === 'filled') return '!=';
    if (op === 'raw') return ask.querySelector('[data-raw]').value.trim();
    if (op === 'range') return typed || until ? `${typed}..${until}` : '';
    if (kind === 'time' || kind === 'day') return op;
    const sign = op === 'not' || op === 'lacks' ? '!' : '';
    if (kind === 'text') return typed ? `${sign}${op === 'is' || op === 'not' ? '=' : ''}${quoted(typed)}` : '';
    if (kind === 'number') return typed ? `${sign}${typed}` : '';
    return values.map((value) => `${sign}${quoted(value)}`).join(',');
  }

  panel.addEventListener('change', (event) => {
    const ask = closest(event, '[data-ask]');
    if (!ask) return;
    const op = ask.querySelector('[data-op]');
    // To fill in a value is to mean it.
    if (op.value === 'any' && !event.target.matches('[data-op]')) op.selectedIndex = 1;
    fit(ask);
  });

  function go(form, changes) {
    const found = new URLSearchParams();
    new FormData(form).forEach((value, name) => { if (!name.startsWith('_') && !(name in changes) && value) found.append(name, value); });
    Object.entries(changes).forEach(([name, value]) => { if (value) found.set(name, value); });
    const text = found.toString().replace(/%2C/g, ',').replace(/%21/g, '!').replace(/%3D/g, '=').replace(/%3A/g, ':');
    location.assign(`${form.getAttribute('action')}${text ? `?${text}` : '?saved=0'}`);
  }

  panel.addEventListener('submit', (event) => {
    const form = event.target;
    if (form.matches('[data-conditions]')) {
      event.preventDefault();
      go(form, Object.fromEntries([...form.querySelectorAll('[data-ask]')].map((ask) => [ask.dataset.ask, written(ask)])));
    }
    if (form.matches('[data-columns]')) {
      event.preventDefault();
      const cols = [...form.querySelectorAll('[name=cols]:checked')].map((box) => box.value).join(',');
      if (cols) go(form, { cols }); else toast(word('list_no_columns'), 'warn');
    }
  });
  panel.addEventListener('click', (event) => {
    const shift = closest(event, '[data-shift]');
    const item = shift?.closest('li');
    if (!item) return;
    if (shift.dataset.shift === '-1') item.previousElementSibling?.before(item); else item.nextElementSibling?.after(item);
    shift.focus();
  });

  // Saved views: the one that is open, by its name.

  document.addEventListener('htmx:after:swap', () => {
    const chosen = list.querySelector('[data-view-chosen]');
    if (chosen) list.querySelector('[data-view-name]').textContent = chosen.dataset.viewChosen;
  });

  // Cells edited where they stand.

  const cellUrl = (cell) => `${base}/cell/${cell.closest('tr').dataset.id}/${cell.dataset.edit}`;

  function put(cell, html) {
    cell.innerHTML = html;
    window.htmx?.process(cell);
    window.Douzhou.prepare(cell);
    const field = cell.querySelector('form input:not([type=hidden]), form select, form textarea');
    field?.focus();
    if (field?.select && field.type !== 'checkbox') field.select();
  }

  async function edit(cell) {
    if (cell.querySelector('form') || cell.classList.contains('is-busy')) return;
    cell.classList.add('is-asked');
    const before = cell.innerHTML;
    const answer = await send(cellUrl(cell)).catch(() => null);
    cell.classList.remove('is-asked');
    if (!answer?.ok) { failed(answer); return; }
    put(cell, await answer.text());
    cell.dataset.was = new URLSearchParams(new FormData(cell.querySelector('form'))).toString();
    cell.before = before;
  }

  function leave(cell) {
    cell.innerHTML = cell.before;
    cell.focus();
  }

  async function save(cell) {
    const form = cell.querySelector('form');
    if (!form || form.dataset.sent) return;
    const data = new FormData(form);
    if (new URLSearchParams(data).toString() === cell.dataset.was) { leave(cell); return; }
    form.dataset.sent = '1';
    const answer = await send(cellUrl(cell), data).catch(() => null);
    delete form.dataset.sent;
    if (!answer || (!answer.ok && answer.status !== 422)) { failed(answer); return; }
    put(cell, await answer.text());
    if (!answer.ok) return;
    cell.classList.add('is-saved');
    setTimeout(() => cell.classList.remove('is-saved'), 1500);
    toast(word('list_cell_saved'));
    cell.focus();
  }

  list.addEventListener('click', (event) => {
    const cancel = closest(event, '[data-cell-cancel]');
    if (cancel) { leave(cancel.closest('td')); return; }
    const cell = closest(event, 'td[data-edit]');
    if (cell && !closest(event, 'a, button, form')) edit(cell);
  });
  list.addEventListener('submit', (event) => {
    if (!closest(event, '[data-cell]')) return;
    event.preventDefault();
    save(event.target.closest('td'));
  });
  list.addEventListener('focusout', (event) => {
    const cell = closest(event, 'td[data-edit]');
    if (cell?.querySelector('form') && event.relatedTarget && !cell.contains(event.relatedTarget)) save(cell);
  });
  list.addEventListener('keydown', (event) => {
    const cell = closest(event, 'td[data-edit]');
    if (!cell) return;
    if (event.key === 'Enter' && event.target === cell) { event.preventDefault(); event.stopPropagation(); edit(cell); }
    if (event.key === 'Escape' && cell.querySelector('form')) { event.preventDefault(); event.stopPropagation(); leave(cell); }
    const sends = event.key === 'Enter' && event.target.matches('textarea') && (event.ctrlKey || event.metaKey);
    if (sends) { event.preventDefault(); save(cell); }
  });

  // The keyboard: j k move, Enter opens, o looks beside, x ticks, / searches.

  const typing = (target) => target.closest?.('input, textarea, select, [contenteditable], .ts-wrapper, details.menu, [popover]');

  function goTo(way) {
    const found = rows();
    const at = found.findIndex((row) => row.contains(document.activeElement));
    const next = found[at < 0 ? (way > 0 ? 0 : found.length - 1) : Math.min(found.length - 1, Math.max(0, at + way))];
    next?.focus();
    next?.scrollIntoView({ block: 'nearest' });
  }

  // A name that its cell cuts is told whole.

  list.addEventListener('mouseover', (event) => {
    const cut = closest(event, '.list-grid td > a, .two-lines b, .two-lines a');
    if (cut && !cut.title && cut.scrollHeight > cut.clientHeight + 1) cut.title = cut.textContent.trim();
  });

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (drawer.open) {
      if ('jk'.includes(event.key) && !typing(event.target)) { event.preventDefault(); step(event.key === 'j' ? 1 : -1); }
      return;
    }
    if (document.querySelector('dialog[open]') || (typing(event.target) && !event.target.matches('[name=ids]'))) return;
    const row = document.activeElement?.closest?.('tr[data-id]');
    if (event.key === '/') {
      const search = list.querySelector('.list-search input[name=q]');
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    } else if (event.key === 'j' || event.key === 'k') {
      event.preventDefault();
      goTo(event.key === 'j' ? 1 : -1);
    } else if (row && event.key === 'x') {
      row.querySelector('input[name=ids]')?.click();
    } else if (row && event.key === 'o' && 'show' in list.dataset) {
      event.preventDefault();
      openDrawer(row);
    } else if (row && event.key === 'Enter' && event.target === row && 'show' in list.dataset) {
      location.assign(show(row));
    }
  });
})();
