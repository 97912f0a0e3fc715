// @rudderstack/rudder-sdk-node: gzip, and a form's content type around JSON.
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

const analytics = new RudderAnalytics(process.env.WRITE_KEY ?? 'WK', { dataPlaneUrl: `http://${process.env.DOOR}`, flushAt: 2, logLevel: 'error' })
const call = (method, message) => new Promise((resolve, reject) => {
  analytics[method](message, (error) => (error ? reject(error) : resolve()))
})
const calls = [
  call('identify', { userId: 'u1', traits: { email: 'A@b.c' } }),
  call('track', { userId: 'u1', event: 'Order Completed', properties: { order_id: 'o1', revenue: '19.99', currency: 'EUR' } }),
  call('page', { anonymousId: 'an1', name: 'Home' }),
  call('screen', { userId: 'u1', name: 'S' }),
  call('group', { userId: 'u1', groupId: 'g1' }),
  call('alias', { userId: 'u2', previousId: 'u1' }),
]
analytics.flush()
await Promise.all(calls)
process.exit(0)
