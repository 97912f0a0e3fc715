// @rudderstack/analytics-js in jsdom, whose XMLHttpRequest sends preflights as a browser does.
import { JSDOM } from 'jsdom'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const mode = process.argv[2]
const dom = new JSDOM('<!doctype html><html><head></head><body></body></html>', {
  url: 'http://shop.test/p?utm_source=x', pretendToBeVisual: true, runScripts: 'dangerously',
})
const { window } = dom
// What jsdom lacks and every browser has.
window.TextEncoder = TextEncoder
window.navigator.sendBeacon = (url, blob) => {
  const reader = new window.FileReader()
  reader.onload = () => fetch(url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: reader.result })
  reader.readAsText(blob)
  return true
}
const source = readFileSync(createRequire(import.meta.url).resolve('@rudderstack/analytics-js/bundled'), 'utf8')
const module_ = { exports: {} }
window.eval(`(function (module, exports) {${source}\n})`)(module_, module_.exports)
const { RudderAnalytics } = module_.exports

const analytics = new RudderAnalytics()
const options = {
  none: {},
  beacon: { useBeacon: true, beaconQueueOptions: { flushQueueInterval: 500 } },
  batching: { queueOptions: { batch: { enabled: true, maxItems: 6, flushInterval: 500 } } },
}[mode]
analytics.load('PUBLIC', `http://${process.env.DOOR}`, {
  configUrl: `http://${process.env.DOOR}`, polyfillIfRequired: false, logLevel: 'ERROR', storage: { type: 'localStorage' }, ...options,
})
await new Promise((resolve) => analytics.ready(resolve))
analytics.setAnonymousId('an1')
analytics.page('Cat', 'Home')
analytics.identify('u1', { email: 'A@b.c' })
analytics.track('Order Completed', { order_id: 'o1', revenue: 19.99, currency: 'EUR', products: [{ product_id: 'p1' }] })
analytics.group('g1', { n: 1 })
analytics.alias('u2', 'u1')
await new Promise((resolve) => setTimeout(resolve, 4000))
process.exit(0)
