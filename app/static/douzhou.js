/* Behaviour of the console's pages. Every page works without it, only less comfortably. */
(function () {
  'use strict';

  function closest(event, selector) {
    return event.target instanceof Element ? event.target.closest(selector) : null;
  }

  // Numbers to copy; pages opened over plain HTTP have no clipboard API.
  function copy(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    var area = document.createElement('textarea');
    area.value = text;
    document.body.appendChild(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    return Promise.resolve();
  }

  document.addEventListener('click', function (event) {
    var button = closest(event, '[data-copy]');
    if (button) {
      var before = button.textContent;
      copy(button.dataset.copy).then(function () {
        button.textContent = '已复制';
        setTimeout(function () { button.textContent = before; }, 1200);
      });
      return;
    }
    if (closest(event, '[data-dismiss-parent]')) event.target.closest('.notice').remove();
    var toggle = closest(event, '[data-toggle-class]');
    if (toggle) document.body.classList.toggle(toggle.dataset.toggleClass);
    document.querySelectorAll('details.menu[open]').forEach(function (menu) {
      if (!menu.contains(event.target)) menu.open = false;
    });
  });

  // A menu in a scrolling table is laid over the page, so that the table does not cut it off.
  document.addEventListener('toggle', function (event) {
    var menu = event.target;
    if (!(menu instanceof Element) || !menu.matches('details.menu') || !menu.open) return;
    var items = menu.querySelector('.menu-items');
    if (!menu.closest('.table-wrap')) return;
    var box = menu.getBoundingClientRect();
    items.style.position = 'fixed';
    items.style.right = Math.max(8, document.documentElement.clientWidth - box.right) + 'px';
    var below = box.bottom + items.offsetHeight + 8 < window.innerHeight;
    items.style.top = (below ? box.bottom : Math.max(8, box.top - items.offsetHeight - 8)) + 'px';
  }, true);
  window.addEventListener('scroll', function () {
    document.querySelectorAll('.table-wrap details.menu[open]').forEach(function (menu) { menu.open = false; });
  }, true);

  // Ticking rows.
  var batch = document.getElementById('batch');
  if (batch) {
    var boxes = Array.prototype.slice.call(batch.querySelectorAll('[data-check]'));
    var all = batch.querySelector('[data-check-all]');
    var matching = batch.querySelector('[data-check-matching]');
    if (all) all.addEventListener('change', function () { boxes.forEach(function (box) { box.checked = all.checked; }); });
    if (matching) matching.addEventListener('change', function () {
      boxes.forEach(function (box) { box.checked = matching.checked; box.disabled = matching.checked; });
      if (all) { all.checked = matching.checked; all.disabled = matching.checked; }
    });
    batch.addEventListener('submit', function (event) {
      var picked = boxes.some(function (box) { return box.checked; });
      if (!picked && !(matching && matching.checked)) {
        event.preventDefault();
        window.alert('请先勾选要操作的记录');
      }
    });
  }

  // A form that changes something is sent once.
  document.addEventListener('submit', function (event) {
    var form = event.target;
    if (!(form instanceof HTMLFormElement) || form.dataset.once === undefined) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = '1';
    setTimeout(function () {
      form.querySelectorAll('button[type=submit]').forEach(function (button) { button.disabled = true; });
    }, 0);
  });
  window.addEventListener('pageshow', function () {
    document.querySelectorAll('form[data-once]').forEach(function (form) {
      delete form.dataset.sent;
      form.querySelectorAll('button[type=submit]').forEach(function (button) { button.disabled = false; });
    });
  });

  // Related rows are found by typing.
  if (window.jQuery && window.jQuery.fn.select2) {
    var words = {
      errorLoading: function () { return '没有读到结果，请重试'; },
      inputTooLong: function () { return '输入过长'; },
      loadingMore: function () { return '正在读取…'; },
      noResults: function () { return '没有符合的结果'; },
      searching: function () { return '正在查找…'; },
      removeAllItems: function () { return '清除'; }
    };
    window.jQuery('select.remote').each(function () {
      window.jQuery(this).select2({
        ajax: { url: this.dataset.url, dataType: 'json', delay: 200, data: function (asked) { return { q: asked.term || '' }; } },
        placeholder: this.dataset.hint, allowClear: true, theme: 'bootstrap', width: '100%', language: words
      }).on('select2:open', function () {
        // Select2 4.0 with jQuery 3.6 does not focus its search box by itself.
        var box = document.querySelector('.select2-container--open .select2-search__field');
        if (box) { box.setAttribute('aria-label', '搜索'); box.focus(); }
      });
    });
  }

  // Progress of a run or a batch, asked for every second while it goes on and the page is looked at.
  var progress = document.querySelector('[data-progress]');
  function show(found) {
    if (progress.dataset.kind === 'batch') {
      progress.querySelectorAll('[data-count]').forEach(function (tile) {
        tile.textContent = found.counts[tile.dataset.count] || 0;
      });
      return;
    }
    var label = progress.querySelector('[data-words]');
    label.textContent = found.words;
    label.className = 'state state-' + found.tone;
    progress.querySelector('[data-message]').textContent = found.message;
    progress.querySelector('[data-advice]').textContent = found.advice;
  }
  function ask() {
    if (document.hidden) { setTimeout(ask, 1000); return; }
    fetch(progress.dataset.progress, { headers: { Accept: 'application/json' }, credentials: 'same-origin' })
      .then(function (answer) { if (!answer.ok) throw new Error(answer.status); return answer.json(); })
      .then(function (found) {
        show(found);
        if (found.over) window.location.reload(); else setTimeout(ask, 1000);
      })
      .catch(function () { setTimeout(ask, 5000); });
  }
  if (progress && progress.dataset.over === '0') setTimeout(ask, 1000);

  // Parts of a page that may change by themselves (an audit's verdict): looked at again while something is pending.
  function renew() {
    if (document.hidden) { setTimeout(renew, 5000); return; }
    fetch(window.location.href, { credentials: 'same-origin' })
      .then(function (answer) { if (!answer.ok) throw new Error(answer.status); return answer.text(); })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, 'text/html');
        document.querySelectorAll('[data-part]').forEach(function (part) {
          var other = fresh.querySelector('[data-part="' + part.dataset.part + '"]');
          if (other && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
        });
        if (fresh.querySelector('[data-pending]')) setTimeout(renew, 5000);
      })
      .catch(function () { setTimeout(renew, 30000); });
  }
  if (document.querySelector('[data-pending]')) setTimeout(renew, 5000);
})();
