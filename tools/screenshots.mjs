// Looks at the status page with a real browser: logs in as a person would, takes docs/images/status-light.png and
// status-dark.png, and checks what only a browser can tell: that nothing breaks the content security policy, that the
// page renews itself, and that what was scrolled and unfolded stays so.
//
//   node tools/screenshots.mjs http://127.0.0.1:7310 TOKEN [FOLDER]
//
// Ends with 77 where no Chromium is installed (Debian: apt-get install chromium). Speaks the DevTools protocol over a
// pipe, so it needs no package.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [server, token, folder = 'docs/images'] = process.argv.slice(2);
const IMAGE_BYTES_MAX = 200_000;
const PATIENCE_MS = 60_000;
const WIDTH = 1240;
const HEIGHT = 1060;

if (!server || !token) {
  console.error('usage: node tools/screenshots.mjs http://127.0.0.1:7310 TOKEN [FOLDER]');
  process.exit(2);
}
const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);
const binary = names.find((name) => spawnSync(name, ['--version']).status === 0);
if (!binary) {
  console.log('no Chromium is installed: set CHROMIUM, or install one (Debian: apt-get install chromium)');
  process.exit(77);
}

const profile = mkdtempSync(join(tmpdir(), 'throughline-browser-'));
const flags = ['--headless=new', '--remote-debugging-pipe', '--no-first-run', '--disable-gpu', '--hide-scrollbars'];
if (process.getuid?.() === 0) flags.push('--no-sandbox');
const browser = spawn(binary, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
  stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
});
const [toBrowser, fromBrowser] = [browser.stdio[3], browser.stdio[4]];
const waiting = new Map();
const listeners = [];
let rest = '';
let number = 0;

fromBrowser.setEncoding('utf8').on('data', (data) => {
  const messages = (rest + data).split('\0');
  rest = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    if (message.id) waiting.get(message.id)?.(message);
    else listeners.forEach((listener) => listener(message));
  }
});

function call(method, params = {}, sessionId = undefined) {
  number += 1;
  const id = number;
  toBrowser.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => {
    waiting.set(id, ({ result, error }) => (error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result)));
  });
}

function check(holds, what) {
  if (!holds) throw new Error(what);
  console.log(`ok  ${what}`);
}

async function look() {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
  const page = (method, params) => call(method, params, sessionId);
  const complaints = [];
  listeners.push(({ method, params }) => {
    if (method === 'Log.entryAdded') complaints.push(params.entry.text);
    if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.text);
  });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await page('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  };
  const until = async (expression, what) => {
    for (const end = Date.now() + 20_000; Date.now() < end; ) {
      if (await evaluate(expression).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`it did not happen: ${what}`);
  };
  for (const domain of ['Page', 'Runtime', 'Log']) await page(`${domain}.enable`);
  const size = { width: WIDTH, height: HEIGHT, deviceScaleFactor: 1, mobile: false };
  await page('Emulation.setDeviceMetricsOverride', size);
  await page('Page.navigate', { url: `${server}/` });
  await until("document.querySelector('form[action=\"/login\"]') !== null", 'the form');
  check(!(await evaluate("document.getElementById('live')")), 'without a session there is the form and nothing else');
  await evaluate(`document.getElementById('token').value = ${JSON.stringify(token)}; document.forms[0].submit()`);
  await until("document.getElementById('live') !== null", 'the page after logging in');
  check((await evaluate('document.cookie')) === '', 'scripts cannot read the session');

  await evaluate("document.querySelector('details').open = true; scrollTo(0, 400); window.kept = document.querySelector('h2')");
  await until('document.documentElement.dataset.renewed', 'the page renews itself');
  const first = await evaluate('document.documentElement.dataset.renewed');
  await until(`document.documentElement.dataset.renewed !== '${first}'`, 'the page renews itself again');
  const after = await evaluate("[scrollY, document.querySelector('details').open, document.querySelector('h2') === window.kept]");
  check(JSON.stringify(after) === '[400,true,true]', `what was scrolled and unfolded stays so: ${JSON.stringify(after)}`);
  const wide = await evaluate('document.documentElement.scrollWidth <= innerWidth');
  check(wide, `nothing sticks out at ${WIDTH} pixels`);
  await evaluate("document.querySelector('details').open = false; scrollTo(0, 0)");
  for (const scheme of ['light', 'dark']) {
    await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    const { data } = await page('Page.captureScreenshot', { format: 'png' });
    const image = Buffer.from(data, 'base64');
    check(image.length <= IMAGE_BYTES_MAX, `status-${scheme}.png has ${image.length} bytes`);
    writeFileSync(join(folder, `status-${scheme}.png`), image);
  }
  await page('Emulation.setDeviceMetricsOverride', { ...size, width: 390, height: 800 });
  check(await evaluate('document.documentElement.scrollWidth <= innerWidth'), 'nothing sticks out on a phone');
  if (process.env.WHOLE_PAGE) {
    await page('Emulation.setDeviceMetricsOverride', size);
    const { data } = await page('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip: {
      x: 0, y: 0, width: WIDTH, height: await evaluate('document.documentElement.scrollHeight'), scale: 1 } });
    writeFileSync(process.env.WHOLE_PAGE, Buffer.from(data, 'base64'));
  }
  check(complaints.length === 0, `the browser complains about nothing ${complaints.join('; ')}`);
}

const tooLong = setTimeout(() => {
  console.error('the browser took too long');
  browser.kill('SIGKILL');
  process.exitCode = 1;
}, PATIENCE_MS);
try {
  await look();
} catch (error) {
  console.error(`not ok  ${error.message}`);
  process.exitCode = 1;
} finally {
  clearTimeout(tooLong);
  const gone = new Promise((resolve) => browser.once('exit', resolve));
  browser.kill('SIGKILL');
  await gone;
  rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
