// @segment/analytics-node: a server, JSON without gzip, the write key in the body and in Basic authorization.
import { Analytics } from '@segment/analytics-node'

const analytics = new Analytics({ writeKey: process.env.WRITE_KEY ?? 'WK', host: `http://${process.env.DOOR}`, flushAt: 3 })
analytics.on('error', (error) => { console.error(error); process.exitCode = 1 })
analytics.identify({ userId: 'u1', traits: { email: 'A@b.c' } })
analytics.track({ anonymousId: 'an1', event: 'Order Completed', properties: { order_id: 'o1', revenue: 19.99, currency: 'EUR', products: [{ product_id: 'p1' }] } })
analytics.page({ userId: 'u1', category: 'C', name: 'Home' })
analytics.screen({ userId: 'u1', name: 'S' })
analytics.group({ userId: 'u1', groupId: 'g1' })
analytics.alias({ userId: 'u2', previousId: 'u1' })
await analytics.closeAndFlush({ timeout: 20000 })
