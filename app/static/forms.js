/* Forms: fields that another field calls for, the first wrong field in focus, a guard for what is already changed. */
(() => {
  'use strict';

  function value(form, name) {
    const field = form.elements.namedItem(name);
    if (!field) return '';
    if (field.type === 'checkbox') return field.checked ? 'y' : '';
    return (field.value || '').trim();
  }

  function needed(form, line) {
    const other = form.querySelector(`[data-when] [name="${CSS.escape(line.dataset.when)}"]`)?.closest('[data-when]');
    if (other && other !== line && !needed(form, other)) return false;
    const held = value(form, line.dataset.when);
    return line.dataset.whenIs === '*' ? held !== '' : line.dataset.whenIs.split(' ').includes(held);
  }

  function follow(form) {
    form.querySelectorAll('[data-when]').forEach((line) => { line.hidden = !needed(form, line); });
  }

  // Texts made of what is typed: an address with its number in it. What no number can be leaves the place open.
  function fill(form) {
    form.querySelectorAll('[data-fill]').forEach((text) => {
      const typed = value(form, text.dataset.fill);
      const good = /^[0-9A-Za-z]+$/.test(typed);
      text.textContent = text.dataset.pattern.replace('{}', good ? typed : text.dataset.place);
      text.parentElement.classList.toggle('unfilled', !good);
    });
  }

  function changed(event) {
    const form = event.target instanceof Element ? event.target.closest('form.form-page') : null;
    if (form) { follow(form); fill(form); }
  }

  document.addEventListener('input', changed);
  document.addEventListener('change', changed);

  // Choosing to type chooses what is typed.
  document.addEventListener('input', (event) => {
    const cell = event.target instanceof Element && event.target.type !== 'radio' ? event.target.closest('.merge-asked') : null;
    const mine = cell?.querySelector('input[type=radio][value=mine]');
    if (mine) mine.checked = true;
  });

  function begin() {
    document.querySelectorAll('form.form-page').forEach((form) => {
      follow(form);
      fill(form);
      // A form that comes back with what was typed is one with unsaved changes.
      if (form.dataset.guardNow !== undefined) form.dispatchEvent(new Event('input', { bubbles: true }));
    });
    const wrong = document.querySelector('.form-page .field-bad :is(input, select, textarea):not([type=hidden], .remote)');
    (wrong || document.querySelector('[data-focus]'))?.focus();
  }

  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', begin); else begin();
})();
