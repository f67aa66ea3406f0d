/* Tries a call of the REST API with the key that was typed: the cookie is left out, so that the key alone counts. */
(() => {
  'use strict';

  const SLOW = 60000;
  const key = () => document.getElementById('api-key').value.trim();
  const word = (name) => window.Douzhou.word(name);

  function target(form) {
    const url = new URL(form.dataset.path, location.origin);
    let path = form.dataset.path;
    form.querySelectorAll('[data-in]').forEach((input) => {
      const value = input.value.trim();
      if (input.dataset.in === 'path') path = path.replace(`{${input.name}}`, encodeURIComponent(value));
      else if (value) url.searchParams.set(input.name, value);
    });
    url.pathname = path;
    return url;
  }

  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

  function command(form, url, body) {
    const parts = ['curl', '-X', form.dataset.method, quoted(url.href)];
    if ('locked' in form.dataset) parts.push('-H', '"Authorization: Bearer $DOUZHOU_KEY"');
    if (body !== undefined) parts.push('-H', "'Content-Type: application/json'", '-d', quoted(body));
    return parts.join(' ');
  }

  function pretty(text) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  async function send(form) {
    const url = target(form);
    const body = form.querySelector('[data-body]')?.value;
    const headers = { Accept: 'application/json' };
    if (key()) headers.Authorization = `Bearer ${key()}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const answer = form.querySelector('[data-answer]');
    const part = (name) => answer.querySelector(`[data-${name}]`);
    part('curl').textContent = command(form, url, body);
    const begun = performance.now();
    try {
      const got = await fetch(url, {
        method: form.dataset.method, headers, body, credentials: 'omit', redirect: 'error', cache: 'no-store',
        signal: AbortSignal.timeout(SLOW),
      });
      part('text').textContent = pretty(await got.text());
      part('status').textContent = `${got.status} ${got.statusText}`;
    } catch {
      part('text').textContent = word('error_network');
      part('status').textContent = '';
    }
    part('time').textContent = `${Math.round(performance.now() - begun)} ms`;
    answer.hidden = false;
  }

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!form.matches('[data-call]')) return;
    event.preventDefault();
    if ('locked' in form.dataset && !key()) {
      window.Douzhou.toast(word('api_key_first'), 'bad');
      document.getElementById('api-key').focus();
      return;
    }
    const button = form.querySelector('[type=submit]');
    button.disabled = true;
    send(form).finally(() => { button.disabled = false; });
  });

  document.addEventListener('change', (event) => {
    const select = event.target;
    if (!select.matches('[data-bodies]')) return;
    const form = select.closest('form');
    form.querySelector('[data-body]').value = select.selectedOptions[0].dataset.example;
    form.querySelectorAll('[data-fields]').forEach((item) => { item.hidden = item.dataset.fields !== select.value; });
  });

  if (location.hash) {
    const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (linked instanceof HTMLDetailsElement) linked.open = true;
  }
})();
