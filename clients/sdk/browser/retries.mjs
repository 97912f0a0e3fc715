// What the SDKs for browsers do when the door refuses, loses an answer or dies.
import { lossAndDeath, refuse, refuseTwice } from '../support/gate.mjs'
import { arrives, countedThrough, holds, same } from '../support/report.mjs'
import { sleep, until } from '../support/server.mjs'

const NAMES = Array.from({ length: 12 }, (_, number) => `B${number}`)
const LINES = NAMES.map((name) => `track ${name}`)
/** A timer may fire a little early, and the clock that times it is another one. */
const WAITED_MS = 950

/** Each message is refused with 429 and Retry-After, then with 503, and arrives once. */
const refused = (mode) => async (shop) => {
  shop.gate.plan = refuseTwice()
  await shop.track(await shop.visit(mode), NAMES.slice(0, 3))
  await arrives(shop.gate, LINES.slice(0, 3))
  same('each was refused twice', [...new Set(shop.gate.sent().values())], [3])
  const [first, ...rest] = shop.gate.requests
  const again = rest.find((one) => one.events[0].messageId === first.events[0].messageId)
  // In batches it waits only as long as a timer that already runs.
  const heeds = mode === 'next'
  if (heeds) holds(`it heeds Retry-After: ${again.at_ms - first.at_ms} ms`, again.at_ms - first.at_ms >= WAITED_MS)
  return `3 events, each 429, 503, 200${heeds ? ', after the second that Retry-After says' : ''}`
}

/** The door's own 429, by the rules of the key: the browser may read Retry-After, and all arrive once. */
const slowedDown = (mode) => async (shop) => {
  const made = await shop.server.admin('POST', '/admin/v1/write-keys', { kind: 'browser', name: `slow ${mode}` })
  await shop.server.admin('PUT', `/admin/v1/write-keys/${made.number}/rules`, { events_per_s: 1, burst_events: 1 })
  shop.key = made.key
  await shop.track(await shop.visit(mode), NAMES.slice(0, 3))
  await arrives(shop.gate, LINES.slice(0, 3))
  const refusals = shop.gate.requests.filter((one) => one.outcome === 429).length
  holds('some were refused', refusals > 0)
  return `3 events at one a second: ${refusals} times 429`
}

/** Of a beacon's answer nobody hears: what is refused is gone. */
const beaconRefused = async (shop) => {
  shop.gate.plan = () => refuse(503)
  await shop.track(await shop.visit('rudder beacon'), NAMES.slice(0, 3))
  await until('the refusals', () => shop.gate.sent().size === 3)
  shop.gate.plan = () => ({ does: 'pass' })
  await sleep(2000)
  same('it is not sent again', [...new Set(shop.gate.sent().values())], [1])
  same('nothing counts', (await countedThrough(shop.gate)).length, 0)
  return 'a refused beacon is gone, by its own design'
}

/** One request is counted but not answered, and two kill the server: all arrive, once. */
const killed = (mode) => async (shop) => {
  const tab = await shop.visit(mode)
  shop.gate.plan = lossAndDeath()
  await shop.track(tab, NAMES)
  const { requests } = shop.gate
  await until('both kills', () => requests.filter((one) => one.outcome === 'killed').length === 2)
  await until('an answer to all', () => NAMES.every((name) => requests.some((one) => one.outcome === 200 && one.events.some(({ event }) => event === name))))
  const counted = await arrives(shop.gate, LINES)
  same('one visitor', new Set(counted.map((event) => event.profile)).size, 1)
  return `${NAMES.length} events, ${requests.length} requests, two kills`
}

const ANSWERED = ['rudder', 'rudder batching', 'next', 'next batching']
export const retryCases = (withShop) => [
  ...ANSWERED.map((mode) => [`${mode}, an answer lost and the server killed`, withShop(killed(mode), true)]),
  ...ANSWERED.map((mode) => [`${mode}, 429 and 503`, withShop(refused(mode))]),
  ...['rudder', 'next'].map((mode) => [`${mode}, slowed down by the key's rules`, withShop(slowedDown(mode))]),
  ['rudder beacon, 503', withShop(beaconRefused)],
]
