/* Behaviour that every page shares. Listeners sit on the document, so that content that comes later has it too. */
(() => {
  'use strict';

  const page = document.documentElement;
  const words = window.DouzhouWords || {};
  const word = (key) => words[key] || key;
  const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);
  const token = () => document.querySelector('meta[name="csrf-token"]')?.content || '';

  function icon(name) {
    return Object.assign(document.createElement('i'), { className: `icon i-${name}` });
  }

  function made(html) {
    const place = document.createElement('template');
    place.innerHTML = html.trim();
    return place.content.firstElementChild;
  }

  const mod = (key) => (mod.mac ? `⌘ ${key}` : `Ctrl ${key}`);
  mod.mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);

  // Toasts.

  const MARKS = { good: 'circle-check', bad: 'alert-circle', busy: 'info-circle', warn: 'alert-triangle' };

  function toast(text, tone = 'good') {
    const place = document.getElementById('toasts');
    if (!place) return;
    const item = document.createElement('div');
    item.className = `notice-toast tone-${tone}`;
    const said = document.createElement('span');
    said.textContent = text;
    const close = document.createElement('button');
    close.type = 'button';
    close.setAttribute('aria-label', word('close'));
    close.append(icon('x'));
    close.addEventListener('click', () => item.remove());
    item.append(icon(MARKS[tone] || MARKS.busy), said, close);
    place.append(item);
    // Over an open dialog, too: the last to be shown is on top.
    if (place.matches(':popover-open')) place.hidePopover();
    if (place.showPopover) place.showPopover();
    while (place.children.length > 4) place.firstChild.remove();
    setTimeout(() => { item.remove(); if (!place.children.length && place.matches(':popover-open')) place.hidePopover(); },
      tone === 'bad' ? 9000 : 4500);
  }

  // Confirmation: Promise of yes or no.

  function confirmed(text, { label = '', title = '', dangerous = true } = {}) {
    const dialog = document.getElementById('confirm');
    if (!dialog) return Promise.resolve(window.confirm(text));
    dialog.querySelector('.dialog-title').textContent = title || word('confirm_title');
    dialog.querySelector('.dialog-text').textContent = text;
    const yes = dialog.querySelector('[value=yes]');
    yes.textContent = label || word('confirm');
    yes.className = `btn ${dangerous ? 'btn-danger' : 'btn-primary'}`;
    dialog.returnValue = '';
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    });
  }

  document.addEventListener('click', (event) => {
    if (event.target instanceof HTMLDialogElement && !('stay' in event.target.dataset)) event.target.close();
  });

  // Sending: asked first where it destroys, once only, with a spinner when it takes long.

  document.addEventListener('submit', async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement)) return;
    const button = event.submitter;
    const question = button?.dataset.confirm || form.dataset.confirm;
    if (!question || form.dataset.asked) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const options = { label: button?.dataset.confirmLabel || form.dataset.confirmLabel || '', dangerous: !('gentle' in form.dataset) };
    if (!(await confirmed(question, options))) return;
    form.dataset.asked = '1';
    form.requestSubmit(button);
    delete form.dataset.asked;
  }, true);

  function busy(form, button) {
    form.setAttribute('aria-busy', 'true');
    form.querySelectorAll('button[type=submit], button:not([type])').forEach((item) => { item.disabled = true; });
    setTimeout(() => { if (form.dataset.sent) button?.classList.add('is-busy'); }, 300);
  }

  function idle(form) {
    delete form.dataset.sent;
    form.removeAttribute('aria-busy');
    form.querySelectorAll('button[type=submit], button:not([type])').forEach((item) => {
      item.disabled = false;
      item.classList.remove('is-busy');
    });
  }

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.dataset.once === undefined || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = '1';
    const button = event.submitter || form.querySelector('button[type=submit]');
    setTimeout(() => busy(form, button), 0); // after the button's own value was taken
  });
  window.addEventListener('pageshow', () => document.querySelectorAll('form[data-once]').forEach(idle));

  // Leaving a form with changes.

  const dirty = new WeakSet();
  document.addEventListener('input', (event) => {
    const form = closest(event, 'form[data-guard]');
    if (form) dirty.add(form);
  });
  document.addEventListener('submit', (event) => dirty.delete(event.target));
  window.addEventListener('beforeunload', (event) => {
    if ([...document.querySelectorAll('form[data-guard]')].some((form) => dirty.has(form))) event.preventDefault();
  });

  // Numbers to copy; pages opened over plain HTTP have no clipboard API.

  function copy(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'visually-hidden';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done ? Promise.resolve() : Promise.reject(new Error('copy'));
  }

  document.addEventListener('click', (event) => {
    const button = closest(event, '[data-copy]');
    if (!button) return;
    copy(button.dataset.copy || button.previousElementSibling.textContent).then(() => {
      const said = button.classList.contains('copy-button');
      if (!said) { toast(word('copied')); return; }
      const before = button.innerHTML;
      button.textContent = word('copied');
      button.classList.add('copied');
      setTimeout(() => { button.innerHTML = before; button.classList.remove('copied'); }, 1200);
    }, () => toast(word('copy_failed'), 'bad'));
  });

  document.addEventListener('click', (event) => {
    if (closest(event, '[data-dismiss-parent]')) closest(event, '.notice')?.remove();
    const opener = closest(event, '[data-open]');
    if (opener) document.getElementById(opener.dataset.open)?.showModal();
    if (closest(event, '[data-close-dialog]')) closest(event, 'dialog')?.close();
    if (closest(event, '[data-print]')) window.print();
  });

  // Menus: one at a time; Escape and arrows; laid over the page where a scrolling table would cut them off.

  const openMenus = () => document.querySelectorAll('details.menu[open]');

  document.addEventListener('click', (event) => {
    openMenus().forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });

  document.addEventListener('toggle', (event) => {
    const menu = event.target;
    if (!(menu instanceof Element) || !menu.matches('details.menu') || !menu.open) return;
    const items = menu.querySelector('.menu-items');
    if (!items || !menu.closest('.table-responsive, .table-wrap, dialog')) return;
    const box = menu.getBoundingClientRect();
    items.style.position = 'fixed';
    items.style.right = `${Math.max(8, page.clientWidth - box.right)}px`;
    const below = box.bottom + items.offsetHeight + 8 < window.innerHeight;
    items.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - items.offsetHeight - 4)}px`;
  }, true);

  window.addEventListener('scroll', (event) => {
    openMenus().forEach((menu) => {
      if (menu.closest('.table-responsive, .table-wrap') && !menu.contains(event.target)) menu.open = false;
    });
  }, true);

  document.addEventListener('keydown', (event) => {
    const menu = closest(event, 'details.menu');
    if (!menu) return;
    if (event.key === 'Escape' && menu.open) {
      menu.open = false;
      menu.querySelector('summary').focus();
      event.preventDefault(); // one press closes one thing: the ticks of the list stay
      event.stopPropagation();
    }
    if (!menu.open || !['ArrowDown', 'ArrowUp'].includes(event.key) || event.target.matches('input, select, textarea')) return;
    const items = [...menu.querySelectorAll('.menu-items a, .menu-items button')];
    const at = items.indexOf(document.activeElement) + (event.key === 'ArrowDown' ? 1 : -1);
    items[(at + items.length) % items.length]?.focus();
    event.preventDefault();
  });

  // The sidebar: a drawer on a phone, folded to icons on a desk, its groups folded one by one.

  function remember(name, value) {
    document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=lax${location.protocol === 'https:' ? '; secure' : ''}`;
  }

  function drawer(open) {
    const side = document.getElementById('side');
    const burger = document.querySelector('.bar-burger');
    if (!side || !burger || document.body.classList.contains('drawer-open') === open) return;
    document.body.classList.toggle('drawer-open', open);
    burger.setAttribute('aria-expanded', String(open));
    document.querySelector('.stage').inert = open;
    (open ? side.querySelector('.side-close') : burger).focus();
  }

  document.addEventListener('click', (event) => {
    const button = closest(event, '[data-drawer]');
    if (button) drawer(button.dataset.drawer === 'open');
    const fold = closest(event, '[data-fold-side]');
    if (!fold) return;
    const mini = page.dataset.side !== 'mini';
    page.dataset.side = mini ? 'mini' : 'full';
    fold.setAttribute('aria-pressed', String(mini));
    remember('side', page.dataset.side);
  });
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') drawer(false); });
  window.matchMedia('(min-width: 992px)').addEventListener('change', () => drawer(false));

  document.addEventListener('toggle', (event) => {
    if (!(event.target instanceof Element) || !event.target.matches('.side-group')) return;
    const folded = [...document.querySelectorAll('details.side-group:not([open])')].map((item) => item.dataset.group);
    remember('folded', folded.join('.'));
  }, true);

  // How pages look: at once, in a cookie for the next page, and for the account.

  const LOOKS = {
    theme: [['light', 'sun'], ['dark', 'moon'], ['system', 'device-desktop']],
    density: [['comfortable', 'baseline-density-medium'], ['compact', 'baseline-density-small']],
  };

  function lookMenu(place) {
    const now = { theme: page.dataset.uiTheme, density: page.dataset.density };
    const parts = Object.entries(LOOKS).map(([name, choices]) => `<p class="look-title" id="look-${name}">${word(`look_${name}`)}</p>
      <div class="segments" role="group" aria-labelledby="look-${name}">${choices.map(([value, picture]) => `<button type="button" class="segment" data-set="${name}" data-value="${value}" aria-pressed="${value === now[name]}"><i class="icon i-${picture}"></i>${word(`look_${value}`)}</button>`).join('')}</div>`);
    const languages = [['zh', '中文'], ['en', 'English']].map(([code, text]) => `<button class="segment" name="locale" value="${code}" lang="${code}" aria-pressed="${page.lang.startsWith(code)}">${text}</button>`);
    place.innerHTML = `${parts.join('')}<p class="look-title" id="look-language">${word('look_language')}</p>
      <form class="segments" method="post" action="${place.dataset.look}" aria-labelledby="look-language" data-come-back>
        <input type="hidden" name="csrf_token" value="${token()}"><input type="hidden" name="next">${languages.join('')}</form>`;
  }
  document.querySelectorAll('[data-look]').forEach(lookMenu);

  function tellAccount(name, value) {
    const body = new URLSearchParams({ [name]: value, csrf_token: token() });
    return fetch('/account/preferences', { method: 'POST', body, credentials: 'same-origin', headers: { 'X-CSRFToken': token() } });
  }

  document.addEventListener('click', (event) => {
    const button = closest(event, '[data-set]');
    if (button) {
      const { set: name, value } = button.dataset;
      page.dataset[name === 'theme' ? 'uiTheme' : name] = value;
      remember(name, value);
      button.parentElement.querySelectorAll('[data-set]').forEach((item) => {
        item.setAttribute('aria-pressed', String(item === button));
      });
      if (name === 'theme') window.DouzhouTheme();
      tellAccount(name, value).catch(() => {});
      document.dispatchEvent(new CustomEvent('douzhou:look', { detail: { name, value } }));
    }
  });

  // A choice that needs the page anew leads back to it.
  document.addEventListener('submit', (event) => {
    if (event.target.matches('form[data-come-back]')) event.target.elements.next.value = location.pathname + location.search;
  });

  // htmx: the form token on what changes something; one sentence when it fails; the log-in when the session has ended.

  document.addEventListener('htmx:config:request', (event) => {
    const { request } = event.detail.ctx;
    if (request.method !== 'GET') request.headers['X-CSRFToken'] = token();
  });
  document.addEventListener('htmx:before:response', (event) => {
    const { raw } = event.detail.ctx.response;
    if (!raw.redirected || !new URL(raw.url).pathname.startsWith('/login')) return;
    event.preventDefault();
    location.reload();
  });
  function failed(status) {
    if (status === 400) return word('error_csrf');
    if (status >= 500) return word('error_server');
    return words[`error_${status}`] || word('error_server');
  }
  document.addEventListener('htmx:response:error', (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status === 422 || ctx.sourceElement?.closest('[data-quiet]')) return; // the form shows what is wrong
    const said = ctx.response.headers.get('content-type')?.startsWith('text/plain') ? ctx.text : '';
    toast(said || failed(ctx.response.status), 'bad');
  });
  document.addEventListener('htmx:error', (event) => {
    if (event.detail.ctx?.sourceElement?.closest?.('[data-quiet]')) return;
    toast(word(navigator.onLine ? 'error_timeout' : 'error_network'), 'bad');
  });
  document.addEventListener('htmx:confirm', (event) => {
    event.preventDefault();
    confirmed(event.detail.ctx.confirm).then((yes) => (yes ? event.detail.issueRequest() : event.detail.dropRequest()));
  });
  document.addEventListener('htmx:finally:request', (event) => {
    const form = event.detail.ctx?.sourceElement?.closest?.('form[data-once]');
    if (form) idle(form);
  });

  // Fields found by typing: `select.remote` asks its address, `select[data-pick]` searches its own options.

  const PICKED = 'select.remote, select[data-pick]';
  let loading = null;

  function tomSelect() {
    if (window.TomSelect) return Promise.resolve();
    if (loading) return loading;
    const { tomSelect: script, tomSelectCss: style } = document.body.dataset;
    loading = new Promise((resolve, reject) => {
      const sheet = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: style });
      document.head.insertBefore(sheet, document.head.querySelector('link[href*="console.css"]'));
      document.head.append(Object.assign(document.createElement('script'), { src: script, onload: resolve, onerror: reject }));
    });
    return loading;
  }

  function pick(select) {
    if (select.tomselect) return;
    let asked = 0; // only the latest answer counts
    const remote = select.dataset.url;
    const settings = {
      plugins: select.multiple ? ['remove_button'] : ['clear_button'],
      placeholder: select.dataset.hint || word('type_to_search'),
      allowEmptyOption: false,
      maxOptions: 200,
      render: {
        no_results: () => `<div class="no-results">${word('no_results')}</div>`,
        loading: () => `<div class="no-results">${word('loading')}</div>`,
      },
    };
    if (remote) {
      Object.assign(settings, {
        valueField: 'id', labelField: 'text', searchField: [], preload: 'focus', loadThrottle: 200, refreshThrottle: 0,
        load(text, done) {
          const mine = ++asked;
          const url = new URL(remote, location.href);
          url.searchParams.set('q', text);
          const take = (found) => {
            if (this.dropdown.matches(':active')) { setTimeout(take, 50, found); return; } // one of them is being pressed
            const shut = !this.isOpen;
            if (mine === asked) this.clearOptions();
            done(mine === asked ? found : []);
            if (shut) this.close(false);
          };
          fetch(url, { headers: { Accept: 'application/json' }, credentials: 'same-origin' })
            .then((answer) => { if (!answer.ok) throw new Error(answer.status); return answer.json(); })
            .then((answer) => take(answer.results), () => { done(); toast(word('error_network'), 'bad'); });
        },
        score: () => () => 1,
        shouldLoad: () => true,
        onType() { asked += 1; this.clearOptions(); this.refreshOptions(); }, // what is in sight can be taken
      });
    }
    const name = select.getAttribute('aria-label') || select.labels?.[0]?.textContent.trim() || word('type_to_search');
    const made = new window.TomSelect(select, settings);
    made.control_input.setAttribute('aria-label', name);
    select.setAttribute('aria-label', name); // its own label now names the box that is typed in
  }

  function pickers(root) {
    const found = [...(root.matches?.(PICKED) ? [root] : []), ...root.querySelectorAll(PICKED)];
    found.forEach((select) => seen.observe(select));
  }

  // The package comes when the first such field is seen: a list's filters are mostly closed.
  const seen = new IntersectionObserver((entries) => {
    const now = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    if (!now.length) return;
    now.forEach((select) => seen.unobserve(select));
    tomSelect().then(() => now.forEach(pick), () => toast(word('error_network'), 'bad'));
  });

  // Progress of a run or a batch, asked for every second while it goes on and the page is looked at.

  function showProgress(place, found) {
    if (place.dataset.kind === 'batch') {
      place.querySelectorAll('[data-count]').forEach((tile) => { tile.textContent = found.counts[tile.dataset.count] || 0; });
      return;
    }
    const label = place.querySelector('[data-words]');
    label.textContent = found.words;
    label.className = `state state-${found.tone}`;
    place.querySelector('[data-message]').textContent = found.message;
    place.querySelector('[data-advice]').textContent = found.advice;
  }

  function follow(place) {
    if (place.dataset.over !== '0' || place.dataset.followed) return;
    place.dataset.followed = '1';
    const ask = () => {
      if (!place.isConnected) return;
      if (document.hidden) { setTimeout(ask, 1000); return; }
      fetch(place.dataset.progress, { headers: { Accept: 'application/json' }, credentials: 'same-origin' })
        .then((answer) => { if (!answer.ok) throw new Error(answer.status); return answer.json(); })
        .then((found) => {
          showProgress(place, found);
          if (found.over) location.reload(); else setTimeout(ask, 1000);
        })
        .catch(() => setTimeout(ask, 5000));
    };
    setTimeout(ask, 1000);
  }

  // Parts of a page that change by themselves (an audit's verdict): looked at again while something is pending.

  function renew() {
    if (document.hidden) { setTimeout(renew, 5000); return; }
    fetch(location.href, { credentials: 'same-origin' })
      .then((answer) => { if (!answer.ok) throw new Error(answer.status); return answer.text(); })
      .then((text) => {
        const fresh = new DOMParser().parseFromString(text, 'text/html');
        document.querySelectorAll('[data-part]').forEach((part) => {
          const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
          if (other && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
        });
        if (fresh.querySelector('[data-pending]')) setTimeout(renew, 5000);
      })
      .catch(() => setTimeout(renew, 30000));
  }

  // A table that needs no sideways scrolling keeps its head below the bar; a scrolling box would not let it.

  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    target.classList.toggle('fits', target.firstElementChild.offsetWidth <= target.clientWidth);
  }));

  // What new content needs, at the start and after each swap.

  function prepare(root) {
    pickers(root);
    root.querySelectorAll('.table-responsive:has(> .grid)').forEach((box) => sizes.observe(box));
    // What every number and time of a table would carry as markup.
    root.querySelectorAll('code.copy').forEach((code) => {
      const place = Object.assign(document.createElement('span'), { className: 'copy' });
      code.replaceWith(place);
      code.removeAttribute('class');
      place.append(code, made(`<button type="button" class="copy-button" data-copy>${word('copy')}</button>`));
    });
    root.querySelectorAll('time[datetime]:not([title])').forEach((time) => { time.title = time.dateTime.slice(0, 19).replace('T', ' '); });
    root.querySelectorAll('[data-progress]').forEach(follow);
  }

  document.addEventListener('htmx:after:settle', (event) => prepare(event.target instanceof Element ? event.target : document));

  window.Douzhou = { confirmed, copy, icon, made, mod, prepare, remember, toast, token, word };
  document.querySelectorAll('.side-link').forEach((link) => { link.title = link.textContent.trim(); }); // folded, it shows no words
  document.querySelector('.side-link[aria-current]')?.scrollIntoView({ block: 'nearest' });
  prepare(document);
  if (document.querySelector('[data-pending]')) setTimeout(renew, 5000);
  document.dispatchEvent(new CustomEvent('douzhou:ready'));
})();
