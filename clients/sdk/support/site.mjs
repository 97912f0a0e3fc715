// The shop's pages: another origin than the door's, so that a browser really crosses over. Each page loads an SDK's own
// bundle from the door (`ingest.scripts`) and gives it a face that is the same for all: `window.shop`.
import { copyFileSync, mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { freePort } from './server.mjs'

const packages = createRequire(import.meta.url).resolve('@segment/analytics-node').split('@segment')[0]
/** What the door serves, and where the packages have it. */
const SCRIPTS = {
  'analytics.js': '@segment/analytics-next/dist/umd/index.js',
  'analytics.min.js': '@segment/analytics-next/dist/umd/standalone.js',
  'rudder.js': '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js',
}

/** Fills the folder that the setting `ingest.scripts` names. */
export function writeScripts(folder) {
  mkdirSync(folder, { recursive: true })
  for (const [name, from] of Object.entries(SCRIPTS)) copyFileSync(join(packages, from), join(folder, name))
  return folder
}

const batching = (config) => ({ integrations: { 'Segment.io': { deliveryStrategy: { strategy: 'batching', config } } } })
/** The ways to send that the SDKs have. `SLOW` batches wait for more events than come, and longer than a test. */
export const MODES = {
  'next': {},
  'next snippet': {},
  'next batching': batching({ size: 3, timeout: 300 }),
  'next batching slow': batching({ size: 100, timeout: 600_000 }),
  'next batching keepalive': batching({ size: 3, timeout: 300, keepalive: true }),
  'rudder': {},
  'rudder batching': { queueOptions: { batch: { enabled: true, maxItems: 3, flushInterval: 500 } } },
  'rudder batching slow': { queueOptions: { batch: { enabled: true, maxItems: 100, flushInterval: 600_000 } } },
  'rudder beacon': { useBeacon: true, beaconQueueOptions: { flushQueueInterval: 500 } },
  'rudder beacon slow': { useBeacon: true, beaconQueueOptions: { flushQueueInterval: 600_000 } },
}

const NEXT = (key, door, options) => `
<script src="http://${door}/scripts/analytics.js"></script>
<script>
  const analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: '${key}', cdnURL: 'http://${door}' }, ${options})
  window.shop = { ready: analytics.ready(), analytics }
</script>`

// As Segment's own snippet does it: calls wait in an array until the script from /analytics.js/v1/KEY/ takes over.
const NEXT_SNIPPET = (key, door) => `
<script>
  const waiting = window.analytics = []
  waiting._writeKey = '${key}'
  waiting._cdn = 'http://${door}'
  waiting.initialize = false
  for (const method of ['ready', 'page', 'identify', 'track', 'group', 'screen', 'alias', 'setAnonymousId']) {
    waiting[method] = (...given) => { window.analytics.push([method, ...given]); return window.analytics }
  }
  waiting.ready(() => {})
  const script = document.createElement('script')
  script.src = 'http://${door}/analytics.js/v1/${key}/analytics.min.js'
  document.head.append(script)
  window.shop = {
    get analytics() { return window.analytics },
    ready: new Promise((done) => { script.onload = () => window.analytics.ready(done) }),
  }
</script>`

const RUDDER = (key, door, options) => `
<script src="http://${door}/scripts/rudder.js"></script>
<script>
  const analytics = new rudderanalytics.RudderAnalytics()
  analytics.load('${key}', 'http://${door}', {
    configUrl: 'http://${door}', polyfillIfRequired: false, logLevel: 'NONE', storage: { type: 'localStorage' }, ...${options},
  })
  window.shop = { ready: new Promise((done) => analytics.ready(done)), analytics }
</script>`

function page(query) {
  const [mode, key, door] = ['mode', 'key', 'door'].map((name) => query.get(name))
  if (mode === null) return '<p>Nothing is sent from here.</p>'
  const options = JSON.stringify({ ...MODES[mode], ...JSON.parse(query.get('options') ?? '{}') })
  if (mode === 'next snippet') return NEXT_SNIPPET(key, door)
  return mode.startsWith('next') ? NEXT(key, door, options) : RUDDER(key, door, options)
}

export class Site {
  /** Pages that tests bring themselves, by path. */
  pages = new Map()

  async open() {
    this.port = await freePort()
    this.http = createServer((asked, answer) => {
      const { pathname, searchParams } = new URL(asked.url, 'http://shop')
      if (pathname === '/favicon.ico') return answer.writeHead(404).end()
      answer.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' })
      return answer.end(`<!doctype html><title>Shoes</title>${this.pages.get(pathname) ?? page(searchParams)}`)
    })
    await new Promise((done) => this.http.listen(this.port, '127.0.0.1', done))
    return this
  }

  /** `localhost` and what is under it is this machine to every browser, and a secure context, as https is. */
  origin(name = 'shop') {
    return `http://${name}.localhost:${this.port}`
  }

  /** The address of a page with an SDK, or of one without where no mode is named. */
  address({ name, mode, key, door, options, path = '/p' }) {
    const query = new URLSearchParams(mode ? { mode, key, door, ...(options ? { options: JSON.stringify(options) } : {}) } : {})
    return `${this.origin(name)}${path}?${query}`
  }

  close() {
    this.http.closeAllConnections()
    this.http.close()
  }
}
