// Renews the page every two seconds: fetches it and changes only what is different, so that nothing flickers, and what
// is scrolled, opened, focused or selected stays so.
'use strict';

const EVERY_MS = 2000;
const PATIENCE_MS = 10000;

function setAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Whether something is unfolded is the reader's choice.
    if (!fresh.hasAttribute(name) && !(old.nodeName === 'DETAILS' && name === 'open')) old.removeAttribute(name);
  }
}

function become(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
  } else if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    setAttributes(old, fresh);
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((node, index) => (before[index] ? become(before[index], node) : old.append(node)));
    before.slice(after.length).forEach((node) => node.remove());
  }
}

async function renew() {
  const stale = document.getElementById('stale');
  try {
    const answer = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('live');
    // The session is over: the page is the form now.
    if (!fresh) return location.reload();
    become(document.getElementById('live'), fresh);
    document.documentElement.dataset.renewed = String(Date.now());
    stale.hidden = true;
  } catch (error) {
    stale.hidden = false;
  }
  return undefined;
}

(async function run() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    if (!document.hidden) await renew();
  }
})();
