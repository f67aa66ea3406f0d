/* Rows put in order by hand: dragged by their handle with a mouse, a pen or a finger, or moved by the arrow keys. */
(() => {
  'use strict';

  const EDGE = 70; // how near to the window's end the page begins to scroll, in px
  const SPEED = 14; // px a frame, at the very end
  const list = document.querySelector('[data-list]');
  if (!list) return;
  const base = list.dataset.list;
  const { toast, token, word } = window.Douzhou;
  let held = null; // what is dragged: the row, its pointer, where it came from

  async function moved(row) {
    const { previousElementSibling: above, nextElementSibling: below } = row;
    const body = new URLSearchParams();
    if (above) body.set('after', above.dataset.id);
    else if (below) body.set('before', below.dataset.id);
    else return;
    const answer = await fetch(`${base}/move/${row.dataset.id}`, {
      method: 'POST', body, credentials: 'same-origin', headers: { 'HX-Request': 'true', 'X-CSRFToken': token() },
    }).catch(() => null);
    if (answer?.ok && !answer.redirected) { toast(word('list_moved')); return; }
    const text = answer?.status === 409 ? await answer.text() : '';
    toast(text || word(!answer ? 'error_network' : answer.status === 403 ? 'error_403' : 'error_server'), 'bad');
    setTimeout(() => location.reload(), 1500);
  }

  // The row goes where the pointer is.
  function follow() {
    const rows = [...held.row.parentElement.children];
    const at = rows.indexOf(held.row);
    const middle = (row) => { const box = row.getBoundingClientRect(); return box.top + box.height / 2; };
    let to = at;
    while (to > 0 && held.y < middle(rows[to - 1])) to -= 1;
    while (to < rows.length - 1 && held.y > middle(rows[to + 1])) to += 1;
    if (to < at) rows[to].before(held.row);
    else if (to > at) rows[to].after(held.row);
  }

  // A list that is longer than the window scrolls while the row is held at its end.
  function scroll() {
    if (!held) return;
    const over = held.y < EDGE ? held.y - EDGE : Math.max(0, held.y - window.innerHeight + EDGE);
    if (over) {
      window.scrollBy(0, Math.sign(over) * Math.min(1, Math.abs(over) / EDGE) * SPEED);
      follow();
    }
    held.frame = requestAnimationFrame(scroll);
  }

  function end(keep) {
    const { row, next, frame } = held;
    held = null;
    cancelAnimationFrame(frame);
    row.classList.remove('is-dragged');
    list.classList.remove('is-dragging');
    if (row.nextElementSibling === next) return;
    if (keep) { moved(row); return; }
    if (next) next.before(row); else row.parentElement.append(row);
  }

  list.addEventListener('pointerdown', (event) => {
    const grip = event.target instanceof Element ? event.target.closest('.mini-grip') : null;
    if (!grip || event.button || held) return;
    const row = grip.closest('tr');
    held = { row, pointer: event.pointerId, y: event.clientY, next: row.nextElementSibling };
    row.classList.add('is-dragged');
    list.classList.add('is-dragging');
    held.frame = requestAnimationFrame(scroll);
    event.preventDefault(); // no text is marked meanwhile
    grip.focus();
  });
  // On the document: a handle that is moved in the page loses its pointer's capture.
  document.addEventListener('pointermove', (event) => {
    if (held?.pointer !== event.pointerId) return;
    held.y = event.clientY;
    follow();
  });
  document.addEventListener('pointerup', (event) => { if (held?.pointer === event.pointerId) end(true); });
  document.addEventListener('pointercancel', (event) => { if (held?.pointer === event.pointerId) end(false); });
  // A finger that began on a handle drags and does not scroll, also where the handle moved from under it.
  list.addEventListener('touchmove', (event) => { if (held) event.preventDefault(); }, { passive: false });

  list.addEventListener('keydown', (event) => {
    if (held && event.key === 'Escape') { event.preventDefault(); end(false); return; }
    const grip = event.target instanceof Element ? event.target.closest('.mini-grip') : null;
    if (!grip || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const row = grip.closest('tr');
    const other = event.key === 'ArrowUp' ? row.previousElementSibling : row.nextElementSibling;
    if (!other) return;
    if (event.key === 'ArrowUp') other.before(row); else other.after(row);
    grip.focus();
    moved(row);
  });
})();
