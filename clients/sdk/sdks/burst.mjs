// An SDK for Node that tracks COUNT events for one person: `node burst.mjs segment|rudder`. RETRIES is its own option
// for how often it tries again. Prints how many calls it gave up, and how many it said were delivered.
const { DOOR, WRITE_KEY, COUNT, RETRIES, PERSON } = process.env
const host = `http://${DOOR}`
const retries = RETRIES === undefined ? undefined : Number(RETRIES)
const outcome = { delivered: 0, given_up: 0 }
const settled = []

function called(call) {
  settled.push(new Promise((resolve) => call((error) => {
    outcome[error ? 'given_up' : 'delivered'] += 1
    resolve()
  })))
}

const names = Array.from({ length: Number(COUNT) }, (_, number) => `B${number}`)
if (process.argv[2] === 'segment') {
  const { Analytics } = await import('@segment/analytics-node')
  const analytics = new Analytics({ writeKey: WRITE_KEY, host, flushAt: 5, ...(retries === undefined ? {} : { maxRetries: retries }) })
  analytics.on('error', () => {})
  for (const event of names) called((done) => analytics.track({ userId: PERSON, event }, (error) => done(error)))
  await analytics.closeAndFlush({ timeout: 60_000 })
} else {
  const { default: RudderAnalytics } = await import('@rudderstack/rudder-sdk-node')
  // Without an errorHandler it throws where nobody can catch it, and the program ends.
  const analytics = new RudderAnalytics(WRITE_KEY, { dataPlaneUrl: host, flushAt: 5, logLevel: 'none', retryCount: retries, errorHandler: () => {} })
  for (const event of names) called((done) => analytics.track({ userId: PERSON, event }, done))
  await analytics.flush().catch(() => {})
}
await Promise.all(settled)
console.log(JSON.stringify(outcome))
process.exit(0)
