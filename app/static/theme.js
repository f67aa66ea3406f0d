/* Before the first paint: the colours of the system, when the reader follows it. And what pages without a frame need,
   too: a visitor's choice of language, and passwords shown while they are typed. */
(() => {
  'use strict';
  const page = document.documentElement;
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = page.dataset.uiTheme;
    page.dataset.bsTheme = chosen === 'system' ? (dark.matches ? 'dark' : 'light') : chosen;
  };
  apply();
  dark.addEventListener('change', apply);
  window.DouzhouTheme = apply;
  document.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest('[data-locale]') : null;
    if (!button) return;
    document.cookie = `locale=${button.dataset.locale}; path=/; max-age=31536000; samesite=lax`;
    location.reload();
  });
  const show = (button, shown) => {
    const field = document.getElementById(button.getAttribute('aria-controls'));
    if (!field) return;
    field.type = shown ? 'text' : 'password';
    button.setAttribute('aria-pressed', String(shown));
    button.querySelector('.icon').className = `icon i-${shown ? 'eye-off' : 'eye'}`;
  };
  document.addEventListener('click', (event) => {
    const button = event.target instanceof Element ? event.target.closest('[data-peek]') : null;
    if (button) show(button, button.getAttribute('aria-pressed') !== 'true');
  });
  // What leaves the page is a password again: browsers offer to keep it, and the history shows no plain text.
  document.addEventListener('submit', (event) => {
    for (const button of event.target.querySelectorAll('[data-peek][aria-pressed=true]')) show(button, false);
  });
})();
