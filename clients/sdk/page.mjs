// Runs a snippet of docs/ingest.md as the script of a page, in jsdom: `node page.mjs segment-browser.mjs`.
import { JSDOM } from 'jsdom'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Longer than any of the SDKs waits before it sends. */
const OPEN_MS = 4000
const file = process.argv[2]
const text = readFileSync(file, 'utf8')
const dom = new JSDOM('<!doctype html><html><head><script></script></head><body></body></html>', {
  url: 'http://shop.test/p', pretendToBeVisual: true, runScripts: 'dangerously',
})
const { window } = dom

if (text.includes('@rudderstack/')) {
  // Its XMLHttpRequest is jsdom's, preflights and all, so the code runs inside of the window.
  window.TextEncoder = TextEncoder
  const source = readFileSync(createRequire(import.meta.url).resolve('@rudderstack/analytics-js/bundled'), 'utf8')
  const module_ = { exports: {} }
  window.eval(`(function (module, exports) {${source}\n})`)(module_, module_.exports)
  Object.assign(window, module_.exports)
  window.eval(text.replace(/^import .*$/m, ''))
} else {
  window.fetch = globalThis.fetch
  for (const name of ['window', 'document', 'location', 'navigator', 'localStorage', 'sessionStorage', 'CustomEvent', 'HTMLElement']) {
    globalThis[name] = name === 'window' ? window : window[name]
  }
  await import(pathToFileURL(resolve(file)).href)
}
await new Promise((done) => setTimeout(done, OPEN_MS))
process.exit(0)
