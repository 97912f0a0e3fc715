// The SDKs for browsers in a real Chromium, against a real server: `node browser.mjs THROUGHLINE`. Ends with 77 where no
// Chromium is installed. The pages are of another origin than the door, and load the SDK's own bundle from it.
import { join } from 'node:path'
import { callCases } from './browser/calls.mjs'
import { leavingCases } from './browser/leaving.mjs'
import { retryCases } from './browser/retries.mjs'
import { launch } from './support/chromium.mjs'
import { runCases } from './support/report.mjs'
import { Server } from './support/server.mjs'
import { Shop } from './support/shop.mjs'
import { Site, writeScripts } from './support/site.mjs'

/** Most of them wait for a timer of an SDK. */
const BESIDE = 10
const [throughline, only] = process.argv.slice(2)
const browser = await launch()
if (!browser) {
  console.log('**********************************************************************************************')
  console.log('  SKIPPED: no Chromium is installed, so nothing shows that the SDKs work in a real browser.')
  console.log('  Debian: apt-get install chromium. Elsewhere: install one, and name it in CHROMIUM.')
  console.log('**********************************************************************************************')
  process.exit(77)
}
const newServer = async () => {
  const server = new Server(throughline)
  server.settings.push(`ingest.scripts=${writeScripts(join(server.folder, 'scripts'))}`)
  return server.start()
}
const server = await newServer()
const site = await new Site().open()

/** Gives a case a gate and a browser's profile of its own; `alone` a server, too. */
const withShop = (body, alone = false) => async () => {
  const own = alone ? await newServer() : server
  const shop = await new Shop(own, site, browser).open()
  try {
    return await body(shop)
  } catch (error) {
    error.stack += `\n  the page said ${JSON.stringify(shop.said.slice(0, 20))}`
    throw error
  } finally {
    await shop.close()
    if (alone) await own.close()
  }
}

// Those that wait the longest begin first.
const cases = [...retryCases(withShop), ...leavingCases(withShop), ...callCases(withShop)]
const failed = await runCases(only ? cases.filter(([name]) => name.includes(only)) : cases, BESIDE)
await browser.close()
site.close()
await server.close()
process.exit(failed === 0 ? 0 : 1)
