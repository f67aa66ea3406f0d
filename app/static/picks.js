/* Ticked rows: kept in this tab while their reader turns pages, sorts or filters one list; used up by what is done. */
(() => {
  'use strict';

  const SENT = 'picks-sent'; // whose ticks an action is about to use up

  // The tab's own store; without one the ticks live as long as their page.
  const store = {
    read(key) { try { return sessionStorage.getItem(key); } catch { return null; } },
    write(key, text) { try { sessionStorage.setItem(key, text); } catch { /* it is full or shut */ } },
    remove(key) { try { sessionStorage.removeItem(key); } catch { /* it is shut */ } },
    keys() { try { return Object.keys(sessionStorage); } catch { return []; } },
  };

  document.addEventListener('submit', (event) => {
    if (!event.target.matches('[data-uses-picks]')) return;
    const sent = store.read(SENT);
    if (sent) store.remove(sent);
  });

  const list = document.querySelector('[data-list]');
  const picked = document.getElementById('picked');
  if (!list || !picked) return;
  const part = (name) => picked.querySelector(`[data-${name}]`);
  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);
  const owner = `picks:${list.dataset.user}:`;
  const key = owner + list.dataset.list;
  const most = Number(picked.dataset.most);
  const page = list.querySelector('[data-tick-page]');
  const boxes = () => [...list.querySelectorAll('tbody input[name=ids]')];
  const nameOf = (row) => (row.querySelector('.n a, .n b') || row.querySelector('.n'))?.textContent.trim() || row.dataset.id;
  let kept = new Map(); // a row's number, and what it is called
  let all = false;
  let last = null;

  function read() {
    try { kept = new Map(JSON.parse(store.read(key) || '[]')); } catch { kept = new Map(); }
  }

  function save() {
    if (kept.size) store.write(key, JSON.stringify([...kept])); else store.remove(key);
  }

  // Ticks a row or takes the tick off; false when no more fit.
  function tick(box, on) {
    if (!on) kept.delete(box.value);
    else if (kept.size < most || kept.has(box.value)) kept.set(box.value, nameOf(box.closest('tr')));
    else return false;
    return true;
  }

  function tickAll(found, on) {
    const fitted = found.map((box) => tick(box, on));
    if (fitted.includes(false)) window.Douzhou.toast(part('picked-full').textContent, 'warn');
    save();
    show();
  }

  function show() {
    const here = boxes();
    here.forEach((box) => {
      box.checked = all || kept.has(box.value);
      box.disabled = all;
      box.closest('tr').classList.toggle('is-picked', box.checked);
    });
    const ticked = here.filter((box) => box.checked).length;
    const others = kept.size - here.filter((box) => kept.has(box.value)).length;
    picked.hidden = !kept.size && !all;
    part('picked-count').textContent = kept.size;
    part('picked-others').textContent = others;
    part('picked-elsewhere').hidden = !others;
    part('picked-some').hidden = all;
    part('picked-all').hidden = !all;
    part('picked-show').hidden = all;
    const more = part('pick-all');
    if (more) more.hidden = all || ticked < here.length;
    picked.querySelectorAll('[data-all]').forEach((field) => { field.disabled = !all; });
    page.checked = ticked > 0 && ticked === here.length;
    page.indeterminate = ticked > 0 && !page.checked;
    page.disabled = all;
    if (!kept.size) names.hidePopover();
  }

  function clear() {
    all = false;
    kept.clear();
    save();
    show();
  }

  page.addEventListener('change', () => tickAll(boxes(), page.checked));
  list.addEventListener('click', (event) => {
    const box = closest(event, 'tbody input[name=ids]');
    if (box) {
      const found = boxes();
      const [from, to] = [found.indexOf(last), found.indexOf(box)].sort((a, b) => a - b);
      tickAll(event.shiftKey && from >= 0 ? found.slice(from, to + 1) : [box], box.checked);
      last = box;
    }
    if (closest(event, '[data-pick-all]')) { all = true; show(); }
    if (closest(event, '[data-pick-none]')) clear();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || picked.hidden) return;
    const open = document.querySelector('dialog[open], details.menu[open], :popover-open, td form');
    const typing = closest(event, 'textarea, select, .ts-wrapper, input:not([type=checkbox])');
    if (!open && !typing) clear();
  });

  // Which rows they are, also those of other pages.

  const names = document.getElementById('picked-names');

  function name([id, text]) {
    const line = document.createElement('li');
    const off = Object.assign(document.createElement('button'), { type: 'button', className: 'btn btn-icon btn-sm' });
    off.dataset.unpick = id;
    off.setAttribute('aria-label', `${window.Douzhou.word('list_unpick')} ${text}`);
    off.append(Object.assign(document.createElement('i'), { className: 'icon i-x' }));
    line.append(Object.assign(document.createElement('span'), { textContent: text }), off);
    return line;
  }

  names.addEventListener('beforetoggle', (event) => {
    if (event.newState !== 'open') return;
    names.replaceChildren(...[...kept].map(name));
    const box = part('picked-show').getBoundingClientRect();
    names.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - 328))}px`;
    names.style.bottom = `${window.innerHeight - box.top + 6}px`;
  });
  names.addEventListener('click', (event) => {
    const off = closest(event, '[data-unpick]');
    if (!off) return;
    kept.delete(off.dataset.unpick);
    const line = off.closest('li');
    (line.nextElementSibling || line.previousElementSibling)?.querySelector('button').focus();
    line.remove();
    save();
    show();
  });

  // Off they go: their numbers in one field, however many pages they stand on.

  function fill(form) {
    form.querySelectorAll('[data-picked-ids]').forEach((field) => {
      field.value = [...kept.keys()].join(',');
      field.disabled = all;
    });
  }

  picked.addEventListener('submit', () => {
    fill(picked);
    if (part('picked-back')) part('picked-back').value = location.search.slice(1);
    store.write(SENT, key);
  });
  const file = document.getElementById('picked-export');
  file?.addEventListener('submit', () => {
    fill(file);
    picked.querySelectorAll('details[open]').forEach((menu) => { menu.open = false; });
    file.action = `${list.dataset.list}/export${location.search}`;
  });

  function begin() {
    store.remove(SENT);
    store.keys().filter((name) => name.startsWith('picks:') && !name.startsWith(owner)).forEach(store.remove);
    read();
    show();
  }

  begin();
  window.addEventListener('pageshow', (event) => { if (event.persisted) begin(); }); // the browser's way back
})();
