// What arrives when nothing is in the way: every call, returning visitors, two tabs, and the rules of a browser key.
import { readFileSync } from 'node:fs'
import { arrives, countedThrough, holds, same } from '../support/report.mjs'
import { sleep, until } from '../support/server.mjs'

const WAYS = ['next', 'next snippet', 'next batching', 'rudder', 'rudder batching', 'rudder beacon']
const isNext = (mode) => mode.startsWith('next')
const events = (shop) => shop.gate.requests.flatMap((one) => one.events)

/** Every call there is: each arrives once, of one person, as a claim. */
const calls = (mode) => async (shop) => {
  const id = mode.replaceAll(' ', '-')
  // Each family says consent in its own form: with an event, or in what the SDK is loaded with.
  const consentManagement = { enabled: true, provider: 'custom', allowedConsentIds: ['news'], deniedConsentIds: ['ads'] }
  const tab = await shop.visit(mode, isNext(mode) ? {} : { options: { consentManagement } })
  await tab.evaluate(([id, isNext]) => {
    const { analytics } = window.shop
    analytics.setAnonymousId(`an-${id}`)
    analytics.page('Cat', 'Home')
    analytics.identify(`u-${id}`, { email: `${id}@Example.com` })
    analytics.track('Order Completed', { order_id: id, revenue: 19.99, currency: 'EUR', products: [{ product_id: 'p1' }] })
    const consent = { categoryPreferences: { ads: false, news: true } }
    analytics.track('Declined', {}, isNext ? { context: { consent } } : {})
    analytics.group('g1', { n: 1 })
    if (isNext) analytics.screen('S')
    analytics.alias(`u2-${id}`, `u-${id}`)
  }, [id, isNext(mode)])
  const expected = ['alias', 'group g1', 'identify', 'page Home', 'track Declined', 'track Order Completed']
  const counted = await arrives(shop.gate, [...expected, ...(isNext(mode) ? ['screen S'] : [])])
  holds('a browser is never the word of the shop', counted.every((event) => !event.from_server))
  const ids = [['anonymous_id', `an-${id}`], ['user_id', `u-${id}`], ['email', `${id}@example.com`]]
  const people = await Promise.all(ids.map((one) => shop.server.profile(...one)))
  same('one person', new Set(people.map((person) => person?.id)).size, 1)
  same('its consent', people[0].consent, { ads: false, news: true })
  same('its order, whose value a browser cannot vouch for', [people[0].orders, people[0].revenue], [1, []])
  holds('an alias unites nobody', (await shop.server.profile('user_id', `u2-${id}`))?.id !== people[0].id)
  for (const { headers } of shop.gate.requests) same('the page is of another origin', headers.origin, shop.site.origin())
  for (const { context } of events(shop)) holds('it says its page', context.page.url.startsWith(shop.site.origin()))
  return `${counted.length} calls once, ${shop.gate.requests.length} requests, one person, consent kept`
}

/** Who comes again is the same visitor, without a login. */
const returns = (mode) => async (shop) => {
  const tab = await shop.visit(mode)
  await shop.track(tab, ['First'])
  await arrives(shop.gate, ['track First'])
  await shop.visit(mode, { tab })
  await shop.track(tab, ['Second'])
  const counted = await arrives(shop.gate, ['track First', 'track Second'])
  const [anonymous, ...others] = new Set(events(shop).map((event) => event.anonymousId))
  holds('one anonymous id', anonymous && others.length === 0)
  same('one profile', new Set(counted.map((event) => event.profile)).size, 1)
  return 'the same anonymous id after a second load'
}

/** Two tabs send at the same time, and share the visitor and its storage. */
const twoTabs = (mode) => async (shop) => {
  const tabs = [await shop.visit(mode), await shop.visit(mode)]
  const names = tabs.map((_, tab) => Array.from({ length: 6 }, (_, number) => `Tab${tab} ${number}`))
  await Promise.all(tabs.map((tab, index) => shop.track(tab, names[index])))
  const counted = await arrives(shop.gate, names.flat().map((name) => `track ${name}`))
  same('one visitor', new Set(counted.map((event) => event.profile)).size, 1)
  return `${counted.length} events of two tabs once, one visitor`
}

/** A browser key with origins is of no use to somebody else's page. */
const foreignPage = (mode) => async (shop) => {
  const made = await shop.server.admin('POST', '/admin/v1/write-keys', { kind: 'browser', name: `origins ${mode}` })
  await shop.server.admin('PUT', `/admin/v1/write-keys/${made.number}/rules`, { origins: [shop.site.origin()] })
  shop.key = made.key
  const tab = await shop.visit(mode, { name: 'evil' })
  await shop.track(tab, ['Stolen'])
  await until('a refusal', () => shop.gate.requests.some((one) => one.outcome === 403))
  await sleep(1000)
  same('nothing of it counts', (await countedThrough(shop.gate)).length, 0)
  same('it is not sent again', shop.gate.requests.length, 1)
  shop.gate.requests = []
  await shop.track(await shop.visit(mode), ['Own'])
  await arrives(shop.gate, ['track Own'])
  return 'another page gets 403 and gives up, the shop\'s own page is let in'
}

/** The page that README.md shows, word for word but for its key and address. */
const shown = async (shop) => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const [, html, ...more] = readme.split(/^```html\n|\n```$/m).filter((part, index, all) => index === 0 || /^<script/.test(part))
  holds('README.md shows one page', html && more.length === 0)
  const own = html.replaceAll('BROWSER_KEY', shop.key).replaceAll('127.0.0.1:7300', shop.gate.address)
  shop.site.pages.set('/readme', own)
  await (await shop.tab()).goto(`${shop.site.origin()}/readme`)
  await arrives(shop.gate, ['page Home', 'track Product Viewed'])
  return 'its 2 events arrive'
}

export const callCases = (withShop) => [
  ...WAYS.map((mode) => [`${mode}, every call`, withShop(calls(mode))]),
  ...['next', 'rudder'].map((mode) => [`${mode}, a second load`, withShop(returns(mode))]),
  ...['next', 'next batching', 'rudder', 'rudder batching', 'rudder beacon']
    .map((mode) => [`${mode}, two tabs`, withShop(twoTabs(mode))]),
  ['the page of README.md', withShop(shown)],
  ...['next', 'rudder'].map((mode) => [`${mode}, a page of another origin`, withShop(foreignPage(mode))]),
]
