// @segment/analytics-next in jsdom: asks for its settings, then one event a request (or batches), text/plain.
import { JSDOM } from 'jsdom'

const batching = process.argv[2] === 'batching'
const dom = new JSDOM('<!doctype html><html><head><script></script></head><body></body></html>', { url: 'http://shop.test/p?utm_source=x', pretendToBeVisual: true })
const { window } = dom
window.fetch = globalThis.fetch
for (const name of ['window', 'document', 'location', 'navigator', 'localStorage', 'sessionStorage', 'CustomEvent', 'HTMLElement']) {
  globalThis[name] = name === 'window' ? window : window[name]
}
const { AnalyticsBrowser } = await import('@segment/analytics-next')

const deliveryStrategy = batching ? { strategy: 'batching', config: { size: 6, timeout: 300 } } : undefined
const [analytics] = await AnalyticsBrowser.load(
  { writeKey: 'PUBLIC', cdnURL: `http://${process.env.DOOR}` },
  { integrations: { 'Segment.io': { apiHost: `${process.env.DOOR}/v1`, protocol: 'http', deliveryStrategy } } },
)
analytics.setAnonymousId('an1')
await analytics.page('Cat', 'Home')
await analytics.identify('u1', { email: 'A@b.c' })
await analytics.track('Order Completed', { order_id: 'o1', revenue: 19.99, currency: 'EUR', products: [{ product_id: 'p1' }] })
await analytics.group('g1', { n: 1 })
await analytics.screen('S')
await analytics.alias('u2', 'u1')
await new Promise((resolve) => setTimeout(resolve, 2500))
process.exit(0)
