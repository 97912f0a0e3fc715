// What the SDKs for phones send, as tables: there is no phone here to run them on. Written from their public sources, in
// our own values: github.com/segmentio/analytics-kotlin 1.24.1 (HTTPClient, StorageImpl, EventPipeline, the context
// plugins), segmentio/analytics-swift 1.9.4 (HTTPClient, Types, Context, DirectoryStore), rudderlabs/rudder-sdk-kotlin
// 1.4.0 (HttpClientImpl, EventUpload, EventBatchFileManager, the info plugins) and rudderlabs/rudder-sdk-swift 1.3.1
// (HttpClient, EventUploader, DiskStore, Constants).
//
// All four write events to files, upload a file in one request and delete it when they hear of success; after a failure
// the same file is sent again, by Segment's with the `sentAt` of when it was closed, by RudderStack's with a new one.
import { randomUUID } from 'node:crypto'

const upper = () => randomUUID().toUpperCase()
const basic = (key) => `Basic ${Buffer.from(`${key}:`).toString('base64')}`
const ORDER = { order_id: 'o1', revenue: 19.99, currency: 'EUR', products: [{ product_id: 'p1', quantity: 1, price: 19.99 }] }
const EMAIL = { email: 'A@b.c' }
const ANDROID_APP = { name: 'Shop', version: '7.1', namespace: 'test.shop.app', build: '710' }
const ANDROID = {
  app: ANDROID_APP,
  os: { name: 'Android', version: '16' },
  locale: 'de-DE', timezone: 'Europe/Berlin',
}
const APPLE = {
  app: { name: 'Shop', version: '7.1', build: '710', namespace: 'test.shop.app' },
  os: { name: 'iOS', version: '19.2' },
  screen: { width: 393, height: 852 },
  locale: 'de-DE', timezone: 'Europe/Berlin',
}

/** The five calls and the first event of an app's life, as `[type, members]`: `known` is who is known from then on. */
const CALLS = [
  ['track', { event: 'Application Opened', properties: { from_background: false, version: '7.1', build: '710' } }],
  ['screen', { name: 'Main', category: '', properties: {} }],
  ['identify', { userId: 'u1', traits: EMAIL }],
  ['track', { event: 'Order Completed', properties: ORDER, userId: 'u1' }],
  ['group', { groupId: 'g1', traits: { plan: 'x' }, userId: 'u1' }],
  ['alias', { userId: 'u2', previousId: 'u1' }],
]

function segmentKotlin(key, anonymousId) {
  const context = {
    library: { name: 'analytics-kotlin', version: '1.24.1' }, instanceId: randomUUID(), ...ANDROID,
    device: { id: 'dev1', manufacturer: 'Google', model: 'Pixel 9', name: 'tokay', type: 'android', token: 'push-token' },
    screen: { density: 2.625, height: 2424, width: 1080 },
    network: { wifi: true, bluetooth: false, cellular: true },
    userAgent: 'Dalvik/2.1.0 (Linux; U; Android 16; Pixel 9)',
    protocols: { sourceId: 'source' },
    consent: { categoryPreferences: { Advertising: false } },
  }
  const events = CALLS.map(([type, members]) => ({
    anonymousId, messageId: randomUUID(), timestamp: new Date().toISOString(), context, integrations: {},
    _metadata: { bundled: [], unbundled: [], bundledIds: [] }, ...members, type,
  }))
  const file = (batch) => `{"batch":[${batch.map((one) => JSON.stringify(one)).join(',')}],"sentAt":"${new Date().toISOString()}","writeKey":"${key}"}`
  const headers = { 'Content-Type': 'text/plain', 'Content-Encoding': 'gzip', 'User-Agent': 'analytics-kotlin/1.24.1' }
  // A file has no more after an identify in this app: it flushes when somebody logs in.
  const files = [events.slice(0, 2), events.slice(2)].map(file)
  return files.map((body) => ({ path: '/v1/b', headers, again: (times) => ({ 'X-Retry-Count': String(times) }), body: () => body, chunked: true }))
}

function segmentSwift(key, anonymousId) {
  const context = {
    library: { name: 'analytics-swift', version: '1.9.4' }, instanceId: upper(), ...APPLE,
    device: { manufacturer: 'Apple', type: 'ios', model: 'iPhone17,1', name: 'iPhone', id: 'dev1', token: 'push-token' },
    network: { bluetooth: false, cellular: false, wifi: true },
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 19_2 like Mac OS X)',
    consent: { categoryPreferences: { Advertising: false } },
  }
  const events = CALLS.map(([type, members]) => ({
    type, anonymousId, messageId: upper(), timestamp: new Date().toISOString(), context, integrations: {},
    _metadata: { bundled: [], unbundled: [], bundledIds: [] }, ...members,
  }))
  // One event a line, and the comma before it.
  const file = (batch) => `{ "batch": [\n${batch.map((one) => JSON.stringify(one)).join('\n,')}\n],"sentAt":"${new Date().toISOString()}","writeKey":"${key}"}\n`
  const headers = { 'Content-Type': 'application/json; charset=utf-8', 'User-Agent': 'analytics-ios/1.9.4', 'Accept-Encoding': 'gzip' }
  const files = [events.slice(0, 2), events.slice(2)].map(file)
  return files.map((body) => ({ path: '/v1/b', headers, again: (times) => ({ 'X-Retry-Count': String(times) }), body: () => body }))
}

/** RudderStack's two differ in what `special` says. They put the screen's name into `event` and the traits into context. */
function rudder(key, anonymousId, special) {
  const events = CALLS.map(([type, { name, category, traits, ...members }]) => {
    const isKnown = members.userId !== undefined
    const screen = type === 'screen' ? { event: name, properties: { ...members.properties, name } } : {}
    const group = type === 'group' ? { traits } : {}
    return {
      type, messageId: special.id(), originalTimestamp: new Date().toISOString(),
      context: {
        ...special.context, sessionId: 1_795_304_740, ...(isKnown ? { traits: EMAIL } : {}),
        consentManagement: { provider: 'custom', allowedConsentIds: ['Analytics'], deniedConsentIds: ['Advertising'] },
      },
      ...special.nobody(isKnown), sentAt: '{{ RSA_DEF_SENT_AT_TS }}', integrations: { All: true }, anonymousId, channel: 'mobile',
      ...members, ...screen, ...group,
    }
  })
  const files = [events.slice(0, 2), events.slice(2)].map((batch) => `{"batch":[${batch.map((one) => JSON.stringify(one)).join(',')}],"sentAt":"{{ RSA_DEF_SENT_AT_TS }}"}`)
  const headers = { 'Content-Type': 'application/json', Authorization: basic(key), AnonymousId: special.header(anonymousId), ...special.headers }
  const again = (times) => ({ 'Rsa-Retry-Attempt': String(times), 'Rsa-Since-Last-Attempt': '3000', 'Rsa-Retry-Reason': 'server-503' })
  return files.map((file) => ({
    path: '/v1/batch', headers, again, chunked: special.chunked,
    body: () => file.replaceAll('{{ RSA_DEF_SENT_AT_TS }}', new Date().toISOString()),
  }))
}

const rudderKotlin = (key, anonymousId) => rudder(key, anonymousId, {
  id: randomUUID, chunked: true, headers: { 'Content-Encoding': 'gzip' },
  header: (text) => Buffer.from(text).toString('base64'), nobody: (isKnown) => (isKnown ? {} : { userId: '' }),
  context: {
    ...ANDROID, library: { name: 'com.rudderstack.sdk.kotlin.android', version: '1.4.0' },
    device: { id: 'dev1', manufacturer: 'Google', model: 'Pixel 9', name: 'tokay', type: 'Android' },
    screen: { density: 420, height: 2424, width: 1080 }, network: { carrier: 'T', cellular: true, wifi: true },
    sessionStart: true,
  },
})
const rudderSwift = (key, anonymousId) => rudder(key, anonymousId, {
  id: upper, headers: {}, header: (text) => text, nobody: () => ({}),
  context: {
    ...APPLE, library: { name: 'rudder-sdk-swift', version: '1.3.1' },
    device: { id: 'dev1', manufacturer: 'Apple', model: 'iPhone17,1', name: 'iPhone', type: 'iOS' },
    network: { cellular: false, wifi: true },
  },
})

/** `settings` is what it asks before it sends; each of `uploads(key, anonymousId)` is one file. */
export const PHONES = {
  'segment kotlin': { uploads: segmentKotlin, settings: (key) => [`/v1/projects/${key}/settings`, {}] },
  'segment swift': { uploads: segmentSwift, settings: (key) => [`/v1/projects/${key}/settings`, {}] },
  'rudder kotlin': {
    uploads: rudderKotlin,
    settings: (key) => [`/sourceConfig?p=android&v=1.4.0&writeKey=${key}&bv=36`, { 'Content-Type': 'application/json', Authorization: basic(key) }],
  },
  'rudder swift': {
    uploads: rudderSwift,
    settings: (key) => [`/sourceConfig?bv=19.2&p=swift&v=1.3.1&writeKey=${key}`, { 'Content-Type': 'application/json', Authorization: basic(key) }],
  },
}
