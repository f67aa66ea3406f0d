/* The page of one row: tabs that are read when they are opened. Without it each tab is a page of its own. */
(() => {
  'use strict';

  function open(page, key) {
    page.querySelectorAll('[data-tab]').forEach((link) => {
      if (link.dataset.tab === key) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
    });
    page.querySelectorAll('[data-tab-panel]').forEach((panel) => { panel.hidden = panel.dataset.tabPanel !== key; });
    const panel = page.querySelector(`[data-tab-panel="${CSS.escape(key)}"]`);
    if (!panel.hasAttribute('hx-get') || panel.dataset.read !== undefined) return;
    panel.dataset.read = '';
    panel.dispatchEvent(new CustomEvent('open-tab'));
  }

  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('[data-tabs] [data-tab]') : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const page = link.closest('.row-page');
    if (!page.querySelector(`[data-tab-panel="${CSS.escape(link.dataset.tab)}"]`)) return;
    event.preventDefault();
    history.replaceState(history.state, '', link.getAttribute('href'));
    open(page, link.dataset.tab);
    link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  });

  document.querySelectorAll('[data-tabs] [aria-current]').forEach((link) => {
    const box = link.parentElement; // a phone shows three of the tabs: the open one is among them
    box.scrollLeft = link.offsetLeft + link.offsetWidth / 2 - box.clientWidth / 2;
  });

  // From tab to tab with the arrows.
  document.addEventListener('keydown', (event) => {
    const link = event.target instanceof Element ? event.target.closest('[data-tabs] [data-tab]') : null;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!link || !step) return;
    const links = [...link.closest('[data-tabs]').querySelectorAll('[data-tab]')];
    links[(links.indexOf(link) + step + links.length) % links.length].focus();
    event.preventDefault();
  });

  // What was not read may be asked for again.
  function unread(event) {
    const panel = event.target instanceof Element ? event.target.closest('[data-tab-panel][hx-get]') : null;
    if (panel && panel.querySelector('.skeleton')) delete panel.dataset.read;
  }
  document.addEventListener('htmx:error', unread);
  document.addEventListener('htmx:response:error', unread);
})();
