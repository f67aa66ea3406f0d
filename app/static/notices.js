// The bell: its number after the page and then once a minute while the page is looked at; its list when it is opened.
(() => {
  'use strict';

  const EVERY = 60000;
  const MOST = 99;
  const token = () => document.querySelector('meta[name="csrf-token"]')?.content || '';

  function show(count) {
    const mark = document.getElementById('bell-count');
    if (!mark) return;
    mark.hidden = !count;
    mark.textContent = count > MOST ? `${MOST}+` : String(count || '');
  }

  // Not by htmx: a poll that meets an ended session must stay quiet, not leave a half-filled form for the log-in.
  async function poll() {
    const bell = document.getElementById('bell');
    if (!bell || document.hidden) return;
    try {
      const answer = await fetch(bell.dataset.badge, { credentials: 'same-origin', redirect: 'manual', headers: { Accept: 'application/json' } });
      if (answer.ok) show((await answer.json()).unread);
    } catch {
      // No network: the next minute tries again.
    }
  }

  document.addEventListener('toggle', (event) => {
    if (event.target.id === 'bell' && event.target.open) document.getElementById('bell-panel').dispatchEvent(new Event('bell'));
  }, true);

  // Following a link to what the news is about reads it; the request outlives the page.
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[data-read]');
    if (!link) return;
    fetch(link.dataset.read, { method: 'POST', credentials: 'same-origin', keepalive: true, headers: { 'X-CSRFToken': token(), 'HX-Request': 'true' } }).catch(() => {});
  });

  document.addEventListener('change', (event) => {
    if (event.target.matches?.('.note-filter [data-submit]')) event.target.form.requestSubmit();
  });

  document.addEventListener('htmx:after:settle', () => {
    const head = document.querySelector('#bell-panel [data-unread]');
    if (head && document.getElementById('bell').open) show(Number(head.dataset.unread));
    else poll();
  });

  document.addEventListener('visibilitychange', poll);
  setInterval(poll, EVERY);
  poll();
})();
