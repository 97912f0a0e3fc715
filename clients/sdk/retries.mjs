// What the SDKs for servers and phones do when the door refuses, loses an answer or dies: `node retries.mjs THROUGHLINE PYTHON`.
// Each SDK sends to a real server through a gate; what the server counted must be every message, once.
import { spawn } from 'node:child_process'
import { Gate, killAtEnd, killAtHalf, loseAnswer, lossAndDeath, pass, refuse, refuseTwice } from './support/gate.mjs'
import { arrives, countedThrough, holds, runCases, same } from './support/report.mjs'
import { Server } from './support/server.mjs'

const [throughline, python] = process.argv.slice(2)
const SDK_TIMEOUT_MS = 90_000
const EVENTS = 40
const BESIDE = 6
const CALLS = ['alias', 'group g1', 'identify', 'page Home', 'screen S', 'track Order Completed']
/** A timer may fire a little early, and the clock that times it is another one. */
const WAITED_MS = 950

/** `waits`: whether it heeds the Retry-After of a 429. */
const sdks = [
  { name: 'segment node', command: 'node', calls: 'sdks/segment-node.mjs', burst: ['sdks/burst.mjs', 'segment'], waits: true },
  { name: 'rudder node', command: 'node', calls: 'sdks/rudder-node.mjs', burst: ['sdks/burst.mjs', 'rudder'], waits: true },
  { name: 'segment python', command: python, calls: 'sdks/segment_python.py', burst: ['sdks/burst.py', 'segment'], waits: true },
  { name: 'rudder python', command: python, calls: 'sdks/rudder_python.py', burst: ['sdks/burst.py', 'rudder'], waits: false },
]

function run(command, args, more) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...more }
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    let complained = ''
    child.stdout.on('data', (data) => { said += data })
    child.stderr.on('data', (data) => { complained += data })
    const timer = setTimeout(() => child.kill('SIGKILL'), SDK_TIMEOUT_MS)
    child.on('close', (code) => {
      clearTimeout(timer)
      code === 0 ? resolve(said) : reject(new Error(`${args} ended with ${code}\n${said}${complained}`.slice(0, 3000)))
    })
  })
}

/** Gives a case a server and a gate of its own, and takes them away again. */
const withDoor = (body) => async () => {
  const server = await new Server(throughline).start()
  const gate = await new Gate(server).open()
  try {
    return await body(server, gate, { DOOR: gate.address, WRITE_KEY: server.serverKey, PERSON: 'p1' })
  } finally {
    await gate.close()
    await server.close()
  }
}

/** How often the message that was sent most often was sent. */
const mostSent = (gate) => Math.max(...gate.sent().values())
const outcomes = (gate) => gate.requests.map((one) => one.outcome).join(', ')

/** Every call, each refused with 429 and Retry-After, then with 503: all arrive once, and make one person. */
const refused = (sdk) => withDoor(async (server, gate, env) => {
  gate.plan = refuseTwice()
  await run(sdk.command, [sdk.calls], env)
  const counted = await arrives(gate, CALLS)
  holds('all come as the word of the shop', counted.every((event) => event.from_server))
  const people = await Promise.all([['user_id', 'u1'], ['user_id', 'u2'], ['email', 'a@b.c']].map((id) => server.profile(...id)))
  same('one person has both ids and the address', new Set(people.map((one) => one?.id)).size, 1)
  same('the order counts once', people[0].orders, sdk.name === 'segment node' ? 0 : 1)
  holds(`each message was refused twice: ${[...gate.sent().values()]}`, Math.min(...gate.sent().values()) === 3)
  const { at_ms: firstAt, events } = gate.requests[0]
  const again = gate.requests.slice(1).find((one) => one.events.some(({ messageId }) => messageId === events[0].messageId))
  if (sdk.waits) holds(`it heeds Retry-After: ${again.at_ms - firstAt} ms`, again.at_ms - firstAt >= WAITED_MS)
  return `6 calls, each 429, 503, 200${sdk.waits ? ', after the second that Retry-After says' : ''}`
})

/** Batches of which one is counted but not answered, and two kill the server: all arrive, once. */
const killed = (sdk) => withDoor(async (server, gate, env) => {
  gate.plan = lossAndDeath()
  // What it does without the option is the next case.
  const more = sdk.name === 'rudder node' ? { RETRIES: '10' } : {}
  const said = JSON.parse(await run(sdk.command, sdk.burst, { ...env, ...more, COUNT: String(EVENTS) }))
  same('none is given up', said.given_up, 0)
  const counted = await arrives(gate, Array.from({ length: EVENTS }, (_, number) => `track B${number}`))
  same('all are of one person', new Set(counted.map((event) => event.profile)).size, 1)
  same('whose profile counts them', (await server.profile('user_id', 'p1')).events, EVENTS)
  holds('something was sent again', mostSent(gate) > 1)
  same('both kills happened', gate.requests.filter((one) => one.outcome === 'killed').length, 2)
  return `${EVENTS} events, ${gate.requests.length} requests: ${outcomes(gate)}`
})

/** Where the door stays away the SDK gives up after as many attempts as it says, and says so. */
const givesUp = (sdk) => withDoor(async (server, gate, env) => {
  gate.plan = () => refuse(503)
  // Its documented default is 3. The others have 10, which takes minutes, so they are told 2.
  const byDefault = sdk.name === 'rudder node'
  const said = JSON.parse(await run(sdk.command, sdk.burst, { ...env, COUNT: '5', ...(byDefault ? {} : { RETRIES: '2' }) }))
  same('all are given up', said.given_up, 5)
  same('the attempts', mostSent(gate), byDefault ? 4 : 3)
  gate.plan = () => pass
  same('nothing arrived', (await countedThrough(gate)).length, 0)
  return `after ${mostSent(gate)} attempts (${byDefault ? 'its default' : 'told 2 retries'})`
})

const PHONE_CALLS = ['alias', 'group g1', 'identify', 'screen Main', 'track Application Opened', 'track Order Completed']

/** What an SDK for phones sends, which keeps each file until it hears of success: all trouble there is, and each once. */
const phone = (name) => withDoor(async (server, gate, env) => {
  const trouble = [refuse(429, 1), refuse(503), loseAnswer, killAtHalf, killAtEnd, pass, loseAnswer]
  gate.plan = () => trouble.shift() ?? pass
  await run('node', ['sdks/mobile.mjs', name], { ...env, WRITE_KEY: server.browserKey })
  const counted = await arrives(gate, PHONE_CALLS)
  holds('an app is never the word of the shop', counted.every((event) => !event.from_server))
  same('all trouble was met', trouble.length, 0)
  const ids = [['anonymous_id', 'an1'], ['user_id', 'u1'], ['email', 'a@b.c'], ['device_id', 'dev1']]
  const people = await Promise.all(ids.map((id) => server.profile(...id)))
  same('one person', new Set(people.map((one) => one?.id)).size, 1)
  same('its order, whose value an app cannot vouch for', [people[0].orders, people[0].revenue], [1, []])
  const managed = name.startsWith('rudder') ? { Advertising: false, Analytics: true } : { Advertising: false }
  same('its consent', people[0].consent, managed)
  holds('an alias unites nobody', (await server.profile('user_id', 'u2'))?.id !== people[0].id)
  return `2 files, ${gate.requests.length} uploads, each event once, one person, consent kept`
})
const PHONES = ['segment kotlin', 'segment swift', 'rudder kotlin', 'rudder swift']

const failed = await runCases([...PHONES.map((name) => [`${name} (as documented)`, phone(name)]), ...sdks.flatMap((sdk) => [
  [`${sdk.name}, 429 and 503`, refused(sdk)],
  [`${sdk.name}, an answer lost and the server killed`, killed(sdk)],
  [`${sdk.name}, gives up`, givesUp(sdk)],
])], BESIDE)
process.exit(failed === 0 ? 0 : 1)
