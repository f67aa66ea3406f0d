/* Background tasks in the bar: their number, and the drawer with their progress. Nothing is asked for while the page
   is out of sight, nor, after the first look, while nothing goes on. */
(() => {
  'use strict';

  const BADGE_SECONDS = 10;
  const DRAWER_SECONDS = 2;
  const badge = document.getElementById('jobs-badge');
  if (!badge) return;
  const { made, word } = window.Douzhou;
  const opener = badge.closest('[data-jobs]');
  const drawer = made(`<dialog class="jobs-drawer" id="jobs" aria-label="${word('jobs_title')}"><div class="jobs-head"><h2>${word('jobs_title')}</h2>
    <a href="${opener.dataset.all}">${word('jobs_all')}</a>
    <button type="button" class="btn btn-icon" data-close-dialog aria-label="${word('close')}"><i class="icon i-x"></i></button></div>
    <div class="jobs-body" id="jobs-body" data-url="${opener.dataset.jobs}"><div class="skeleton" aria-hidden="true"><span></span><span></span><span></span><span></span></div></div></dialog>`);
  document.body.append(drawer);
  const body = drawer.querySelector('#jobs-body');
  let timer = 0;
  let asked = 0; // only the latest answer counts

  // A button under the reader's finger is not taken away, nor a form whose question is being answered.
  const inUse = () => body.contains(document.activeElement) || document.querySelector('dialog[open]:not(#jobs)');

  async function load(place) {
    const mine = ++asked;
    try {
      const answer = await fetch(place.dataset.url, { credentials: 'same-origin', headers: { 'HX-Request': 'true' }, redirect: 'error' });
      if (!answer.ok || mine !== asked) return;
      const text = await answer.text();
      if (mine !== asked || (place === body && inUse())) return;
      place.innerHTML = text;
    } catch {
      // The network is away: the next look may find it.
    }
  }

  const open = () => Number(drawer.open ? body.querySelector('[data-open]')?.dataset.open || 0
    : badge.querySelector('[data-running]')?.dataset.running || 0);

  function wait() {
    clearTimeout(timer);
    if (document.hidden || !open()) return;
    timer = setTimeout(look, (drawer.open ? DRAWER_SECONDS : BADGE_SECONDS) * 1000);
  }

  async function look() {
    await load(drawer.open ? body : badge);
    wait();
  }

  document.addEventListener('click', (event) => {
    if (!(event.target instanceof Element) || !event.target.closest('[data-jobs]')) return;
    drawer.showModal();
    look();
  });
  drawer.addEventListener('close', look);
  document.addEventListener('visibilitychange', () => { if (!document.hidden && (drawer.open || open())) look(); });
  look();
})();
