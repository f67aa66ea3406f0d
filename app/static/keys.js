/* Single keys that work on every page, while nobody types: ? shows them, / searches, n makes new, g goes somewhere. */
(() => {
  'use strict';

  const PATIENCE = 1200; // how long `g` waits for its letter, in ms
  const { made, mod, word } = window.Douzhou;
  const lines = (items) => items.map(([keys, text]) => `<div><dt>${keys.map((key) => `<kbd>${key}</kbd>`).join('')}</dt><dd>${word(text)}</dd></div>`).join('');
  const dialog = made(`<dialog class="dialog keys" id="keys" aria-labelledby="keys-title">
    <div class="keys-top"><h2 class="dialog-title" id="keys-title" tabindex="-1" autofocus>${word('palette_keys')}</h2><button type="button" class="btn btn-icon btn-sm" data-close-dialog aria-label="${word('close')}"><i class="icon i-x"></i></button></div>
    <div class="keys-groups">
      <section><h3>${word('keys_everywhere')}</h3><dl>${lines([[[mod('K')], 'keys_palette'], [['/'], 'keys_search'], [['n'], 'keys_new'], [['?'], 'keys_show'], [['Esc'], 'keys_escape']])}</dl></section>
      <section><h3>${word('keys_in_lists')}</h3><dl>${lines([[['j', 'k'], 'keys_rows'], [['x'], 'keys_tick'], [['Esc'], 'keys_unpick'], [['Enter'], 'keys_open'], [['o'], 'keys_beside']])}</dl></section>
      <section class="keys-go"><h3>${word('keys_go')}</h3><dl data-go></dl></section>
    </div>
  </dialog>`);
  if (document.querySelector('[data-palette]')) document.body.append(dialog);
  let going = 0;

  const typing = (target) => target instanceof Element
    && Boolean(target.closest('input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable=""], [contenteditable=true]'));
  const visible = (place) => place && place.getClientRects().length > 0;

  // Where `g` leads is what the menu leads to: the palette knows it.
  async function go(letter) {
    const found = await window.DouzhouPalette?.started().catch(() => null);
    const screen = found?.screens.find((item) => item.key === letter);
    if (screen) location.href = screen.url;
  }

  async function fill() {
    const place = dialog.querySelector('[data-go]');
    if (!place || place.childElementCount) return;
    const found = await window.DouzhouPalette?.started().catch(() => null);
    if (!found || place.childElementCount) return;
    place.append(...found.screens.filter((item) => item.key).map((item) => {
      const line = document.createElement('div');
      const term = document.createElement('dt');
      term.append(Object.assign(document.createElement('kbd'), { textContent: item.key }));
      line.append(term, Object.assign(document.createElement('dd'), { textContent: item.title }));
      return line;
    }));
  }

  function search() {
    const field = [...document.querySelectorAll('main input[type=search], main input[name=q]')].find(visible);
    if (field) { field.focus(); field.select?.(); } else window.DouzhouPalette?.begin();
  }

  function make() {
    const link = [...document.querySelectorAll('[data-key=n], main .head a.btn-primary')].find(visible);
    link?.click();
  }

  const does = {
    '?': () => { if (dialog.isConnected) dialog.showModal(); },
    '/': search,
    n: make,
    g: () => { going = Date.now(); window.DouzhouPalette?.started().catch(() => null); },
  };

  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target) || document.querySelector('dialog[open]')) return;
    if (going && Date.now() - going < PATIENCE && /^[a-z]$/.test(event.key)) {
      going = 0;
      event.preventDefault();
      event.stopImmediatePropagation(); // a letter after g is nobody else's
      go(event.key);
      return;
    }
    going = 0;
    const action = does[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }, true);

  new MutationObserver(() => { if (dialog.open) fill(); }).observe(dialog, { attributes: true, attributeFilter: ['open'] });
})();
