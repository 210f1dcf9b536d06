// Counts down, copies ids and refreshes the page. Everything else works without this file.
'use strict';
(() => {
  const every = 15000;
  const byId = (id) => document.getElementById(id);
  let skew = 0; // the gateway's clock, not the browser's, in seconds
  let loaded = Date.now();

  function readClock(root) {
    skew = Number(root.dataset.now) - Math.floor(Date.now() / 1000);
  }

  const two = (n) => String(n).padStart(2, '0');
  function tick() {
    const now = Math.floor(Date.now() / 1000) + skew;
    for (const el of document.querySelectorAll('[data-closes]')) {
      const left = Number(el.dataset.closes) - now;
      if (left > 6 * 3600) continue;
      if (left <= 0) {
        el.textContent = el.dataset.gone;
        continue;
      }
      const h = Math.floor(left / 3600), m = Math.floor(left / 60) % 60;
      el.textContent = h ? `${h}:${two(m)}:${two(left % 60)}` : `${m}:${two(left % 60)}`;
    }
  }

  // A browser offers the clipboard only over TLS or on this machine.
  function showCopy() {
    for (const button of document.querySelectorAll('[data-copy]')) button.hidden = !navigator.clipboard;
  }

  // replace puts a fresh element in place of an old one that differs. Of what somebody uses only the
  // parts around it are replaced.
  function replace(old, fresh) {
    if (old.outerHTML === fresh.outerHTML) return;
    const before = [...old.children], after = [...fresh.children];
    const keep = before.find(inUse);
    if (!keep) {
      old.replaceWith(fresh);
      return;
    }
    const twin = after.find((el) => el.tagName === keep.tagName && el.className === keep.className && el.id === keep.id);
    if (!twin) return;
    for (const el of before) if (el !== keep) el.remove();
    for (const el of after.slice(0, after.indexOf(twin))) keep.before(el);
    for (const el of after.slice(after.indexOf(twin) + 1)) old.append(el);
    if (keep.tagName !== 'FORM') replace(keep, twin);
  }

  // inUse tells of the focus, of a field that somebody has begun to fill in, and of an opened part.
  function inUse(el) {
    const typed = (field) => field.type !== 'hidden' && field.type !== 'checkbox' && field.value !== field.defaultValue;
    return el.contains(document.activeElement) && document.activeElement !== document.body ||
      [...el.querySelectorAll('input, textarea')].some(typed) || el.matches('details[open]') || el.querySelector('details[open]') !== null;
  }

  // keepPage moves the time of a page that has not changed.
  function keepPage(time) {
    const [now, iso, date, minute] = time.split(' ');
    const shown = byId('as-of');
    byId('stale').hidden = byId('ended').hidden = true;
    document.documentElement.dataset.now = now;
    readClock(document.documentElement);
    shown.textContent = `${date} ${minute}${shown.textContent.slice(16)}`;
    shown.dateTime = iso;
    tick();
  }

  async function refresh() {
    const main = document.querySelector('main[data-live]');
    if (!main) return;
    let answer, text;
    try {
      answer = await fetch(location.href, { headers: { 'Console-Live': '1', 'If-None-Match': main.dataset.live }, signal: AbortSignal.timeout(10000) });
      text = await answer.text();
    } catch { // also when the browser leaves the page meanwhile
      byId('stale').hidden = false;
      return;
    }
    loaded = Date.now();
    if (answer.status === 401) {
      byId('ended').hidden = false;
      return;
    }
    if (answer.status === 304) {
      keepPage(answer.headers.get('Console-Time'));
      return;
    }
    if (!answer.ok) {
      byId('stale').hidden = false;
      return;
    }
    const page = new DOMParser().parseFromString(text, 'text/html');
    const fresh = page.querySelector('main[data-live]');
    if (!fresh) return;
    byId('stale').hidden = byId('ended').hidden = true;
    readClock(page.documentElement);
    byId('as-of').replaceWith(page.getElementById('as-of'));
    const parts = [...fresh.children];
    if (inUse(main) || main.children.length !== parts.length) replace(main, fresh);
    else [...main.children].forEach((el, i) => replace(el, parts[i]));
    document.querySelector('main').dataset.live = fresh.dataset.live;
    showCopy();
    tick();
  }

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add('done');
    } catch { // the browser's user has forbidden it
      button.hidden = true;
    }
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && Date.now() - loaded > every) refresh();
  });

  readClock(document.documentElement);
  showCopy();
  if (document.querySelector('main[data-live]')) byId('live').hidden = false;
  setInterval(tick, 1000);
  setInterval(() => {
    if (!document.hidden) refresh();
  }, every);
  document.documentElement.dataset.ready = '1';
  window.addEventListener('console-refresh', refresh);
})();
