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

  // replace puts new children in place of those that differ. The ones that hold the focus stay, and
  // so does a form that somebody has begun to fill in.
  function replace(old, fresh) {
    const before = [...old.children], after = [...fresh.children];
    if (before.length !== after.length) {
      if (!busy(old)) old.replaceChildren(...after);
      return;
    }
    before.forEach((el, i) => {
      if (el.id === 'stale' || el.id === 'ended' || el.outerHTML === after[i].outerHTML) return;
      if (busy(el)) {
        const same = el.tagName === after[i].tagName && el.children.length === after[i].children.length;
        if (same && el.tagName !== 'FORM' && el.children.length) replace(el, after[i]);
        return;
      }
      el.replaceWith(after[i]);
    });
  }

  function busy(el) {
    const typed = (field) => field.type !== 'hidden' && field.value !== field.defaultValue;
    return el.contains(document.activeElement) && document.activeElement !== document.body ||
      [...el.querySelectorAll('input, textarea')].some(typed);
  }

  async function refresh() {
    const main = document.querySelector('main[data-live]');
    if (!main) return;
    let answer, text;
    try {
      answer = await fetch(location.href, { headers: { 'Console-Live': '1' }, signal: AbortSignal.timeout(10000) });
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
    replace(main, fresh);
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
