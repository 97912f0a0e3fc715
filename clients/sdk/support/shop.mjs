// One visitor of the shop: a browser's profile of its own, and a gate between the pages and the server.
import { Gate } from './gate.mjs'

const READY_MS = 40_000

export class Shop {
  /** What the pages wrote to their console, for a case that fails. */
  said = []

  constructor(server, site, browser) {
    this.server = server
    this.site = site
    this.browser = browser
    this.gate = new Gate(server)
    this.key = server.browserKey
  }

  async open() {
    await this.gate.open()
    this.context = await this.browser.newContext()
    this.context.setDefaultTimeout(READY_MS)
    return this
  }

  async close() {
    await this.context.close()
    await this.gate.close()
  }

  async tab() {
    const tab = await this.context.newPage()
    tab.on('console', (message) => this.said.push(message.text()))
    tab.on('pageerror', (error) => this.said.push(error.message))
    return tab
  }

  /** Loads a page with an SDK into the tab, or into a new one, and waits until the SDK is ready. */
  async visit(mode, { tab, ...more } = {}) {
    const page = tab ?? await this.tab()
    await page.goto(this.site.address({ mode, key: this.key, door: this.gate.address, ...more }))
    await page.waitForFunction(() => window.shop.ready.then(() => true))
    return page
  }

  /** Follows a link, as a person would, to a page of the shop that has no SDK. */
  async leave(tab) {
    const address = this.site.address({ path: '/left' })
    await tab.evaluate((address) => {
      const link = document.createElement('a')
      link.href = address
      document.body.append(link)
      link.click()
    }, address)
    await tab.waitForURL(address)
  }

  /** Tracks these events without waiting for what becomes of them. */
  async track(tab, names) {
    await tab.evaluate((names) => names.forEach((name) => window.shop.analytics.track(name, { from: 'a page' })), names)
  }
}
