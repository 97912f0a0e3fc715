// Runs cases beside each other, says one line a case, and holds what a server counted against what was sent.
import { until } from './server.mjs'

/** `cases` are [name, async () => what was seen], and so many run beside each other; gives how many failed. */
export async function runCases(cases, beside) {
  const waiting = [...cases]
  let failed = 0
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [name, run] = next
      try {
        console.log(`ok     ${name}: ${await run()}`)
      } catch (error) {
        failed += 1
        console.log(`FAILED ${name}: ${error.stack}`)
      }
    }
  }
  await Promise.all(Array.from({ length: beside }, worker))
  return failed
}

export function same(what, found, expected) {
  const [left, right] = [found, expected].map((value) => JSON.stringify(value, null, 1))
  if (left !== right) throw new Error(`${what}\n  expected ${right}\n  found ${left}`)
}

export function holds(what, condition) {
  if (!condition) throw new Error(what)
}

const line = (event) => (event.name ? `${event.type} ${event.name}` : event.type)

/** Of the events that the server counted those that came through this gate; every message id must be there once. */
export async function countedThrough(gate) {
  const ids = gate.sent()
  const counted = (await gate.server.counted()).filter((event) => ids.has(event.message_id))
  const doubled = counted.map((event) => event.message_id).filter((id, index, all) => all.indexOf(id) !== index)
  holds(`counted twice: ${doubled}`, doubled.length === 0)
  return counted
}

/** Waits until exactly `expected` (lines like `track A`) were counted once each, and gives the events. */
export async function arrives(gate, expected) {
  const wanted = [...expected].sort()
  const counted = await until(`${expected.length} events`, async () => {
    // The server may be down just now.
    const counted = await countedThrough(gate).catch((error) => { if (error.cause?.code !== 'ECONNREFUSED') throw error })
    return counted?.length >= wanted.length && counted
  }).catch(async (error) => {
    const counted = (await countedThrough(gate)).map(line)
    const passed = gate.requests.map((one) => `${one.path} ${one.events.length} ${one.outcome}`)
    throw new Error(`${error.message}; counted ${JSON.stringify(counted)} of ${JSON.stringify(wanted)}; ${JSON.stringify(passed)}`)
  })
  same('what the server counted', counted.map(line).sort(), wanted)
  same('every message was counted', counted.length, gate.sent().size)
  return counted
}
