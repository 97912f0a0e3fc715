// Pages that go away in the middle: nothing is lost where the SDK promises it, and what it does not promise is stated.
import { fallSilent, hold, pass } from '../support/gate.mjs'
import { arrives, countedThrough, same } from '../support/report.mjs'
import { sleep, until } from '../support/server.mjs'

const NAMES = ['A', 'B', 'C']
const LINES = NAMES.map((name) => `track ${name}`)
const inFlight = (shop) => until('the events are under way', () => shop.gate.sent().size === NAMES.length)

/** The requests never reach the server, because the page takes them along. The next page sends them again. */
const givenUp = (mode) => async (shop) => {
  let release
  shop.gate.plan = () => hold(new Promise((done) => { release = done }))
  const tab = await shop.visit(mode)
  await shop.track(tab, NAMES)
  await inFlight(shop)
  await shop.leave(tab)
  await until('the page took them along', () => shop.gate.requests.every((one) => one.outcome === 'given up'))
  release()
  same('nothing reached the server', (await countedThrough(shop.gate)).length, 0)
  shop.gate.plan = () => pass
  await shop.visit(mode, { tab })
  await arrives(shop.gate, LINES)
  return 'nothing got through, the next page sends them again from the SDK\'s own store'
}

/** The server counts them and cannot say so. The next page sends them again, and they count once. */
const notAnswered = (mode) => async (shop) => {
  shop.gate.plan = () => fallSilent
  const tab = await shop.visit(mode)
  await shop.track(tab, NAMES)
  await arrives(shop.gate, LINES)
  await shop.leave(tab)
  shop.gate.plan = () => pass
  await shop.visit(mode, { tab })
  await until('they are sent again', () => [...shop.gate.sent().values()].every((times) => times > 1))
  await until('and answered', () => shop.gate.requests.every((one) => one.outcome !== 'open'))
  await arrives(shop.gate, LINES)
  return 'counted, not answered, sent again by the next page, counted once'
}

/** They wait in a batch when the page goes; `again` is whether a further page must be loaded. */
const buffered = (mode, { close = false, again = false } = {}) => async (shop) => {
  const tab = await shop.visit(mode)
  await tab.evaluate((names) => Promise.all(names.map((name) => window.shop.analytics.track(name))), NAMES)
  same('nothing is sent yet', shop.gate.requests.length, 0)
  await (close ? tab.close({ runBeforeUnload: true }) : shop.leave(tab))
  if (again) await shop.visit(mode)
  await arrives(shop.gate, LINES)
  return `sent ${close ? 'when the tab closes' : 'when the page goes'}${again ? ', or by the next page' : ''}`
}

/** They are under way in a request that lives on without its page. */
const livesOn = (mode) => async (shop) => {
  let release
  const released = new Promise((done) => { release = done })
  shop.gate.plan = () => hold(released)
  const tab = await shop.visit(mode)
  await shop.track(tab, NAMES)
  await inFlight(shop)
  await shop.leave(tab)
  await sleep(500)
  release()
  await arrives(shop.gate, LINES)
  // The feed may tell of events before the gate has heard the answer.
  await until('every answer', () => shop.gate.requests.every((one) => one.outcome !== 'open'))
  for (const one of shop.gate.requests) same('the first attempt', one.outcome, 200)
  return 'the request lives on without its page'
}

/** Not promised without `keepalive`: the browser ends the request with the page. Chromium 156 tells the SDK in time to
 * send the batch once more, to live on. Whatever a browser does, nothing may count twice. */
const unpromised = (mode) => async (shop) => {
  const plan = [hold(new Promise(() => {}))]
  shop.gate.plan = () => plan.shift() ?? pass
  const tab = await shop.visit(mode)
  await shop.track(tab, NAMES)
  await inFlight(shop)
  await shop.leave(tab)
  await until('the page took the request along', () => shop.gate.requests[0].outcome === 'given up')
  const isSentAgain = await until('the batch again', () => shop.gate.requests[1]?.outcome === 200, 5000).catch(() => false)
  if (isSentAgain) await arrives(shop.gate, LINES)
  else same('nothing counts', (await countedThrough(shop.gate)).length, 0)
  return `without keepalive: ${isSentAgain ? 'the batch is sent once more as the page goes' : 'THE BATCH IS LOST, as the SDK keeps no copy'}`
}

export const leavingCases = (withShop) => [
  ...['rudder', 'rudder batching', 'next'].map((mode) => [`${mode}, leaves mid-send`, withShop(givenUp(mode))]),
  ...['rudder', 'rudder batching', 'next'].map((mode) => [`${mode}, leaves before the answer`, withShop(notAnswered(mode))]),
  ['rudder batching, leaves with a batch waiting', withShop(buffered('rudder batching slow', { again: true }))],
  ['next batching, leaves with a batch waiting', withShop(buffered('next batching slow'))],
  ['next batching, closes with a batch waiting', withShop(buffered('next batching slow', { close: true }))],
  ['rudder beacon, leaves with a batch waiting', withShop(buffered('rudder beacon slow'))],
  ['rudder beacon, closes with a batch waiting', withShop(buffered('rudder beacon slow', { close: true }))],
  ['next batching keepalive, leaves mid-send', withShop(livesOn('next batching keepalive'))],
  ['rudder beacon, leaves mid-send', withShop(livesOn('rudder beacon'))],
  ['next batching, leaves mid-send', withShop(unpromised('next batching'))],
]
