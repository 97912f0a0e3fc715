// Starts the recorder, lets every SDK send to it, and compares what arrived, exactly.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const [recorderPath, python] = process.argv.slice(2)
const SDK_TIMEOUT_MS = 60_000
const ARRIVAL_TIMEOUT_MS = 5_000
/** Even on a slow machine an event is not this old when it arrives; a wrong clock correction is far beyond it. */
const BEHIND_US_MAX = 30_000_000

const ORDER = 'order Completed o1 1999 EUR'
const server = [
  'alias user=u2 user=u1',
  'group g1 user=u1',
  'identify user=u1 email=a@b.c',
  'page Home {page}',
  'screen S user=u1',
  `track Order Completed {track} ${ORDER}{products}`,
]
const browser = (known) => [
  'alias {alias}',
  `group g1 user=u1${known} anonymous=an1`,
  'identify user=u1 email=a@b.c anonymous=an1',
  'page Home anonymous=an1',
  `track Order Completed user=u1${known} anonymous=an1 ${ORDER} products p1`,
]
const filled = (lines, values) => lines.map((line) => line.replace(/\{(\w+)\}/g, (_, name) => values[name]))
const usual = { page: 'anonymous=an1', track: 'user=u1', products: '' }
// analytics-next names the present user as the previous one: a self-alias, which must not unite anybody.
const next = filled([...browser(''), 'screen S user=u1 anonymous=an1'], { alias: 'user=u1 anonymous=an1' })
const rudderJs = filled(browser(' email=a@b.c'), { alias: 'user=u2 user=u1 email=a@b.c anonymous=an1' })

const phone = (known) => [
  `alias user=u2 user=u1${known} anonymous=an1 device=dev1`,
  `group g1 user=u1${known} anonymous=an1 device=dev1`,
  'identify user=u1 email=a@b.c anonymous=an1 device=dev1',
  'screen Main anonymous=an1 device=dev1',
  'track Application Opened anonymous=an1 device=dev1',
  `track Order Completed user=u1${known} anonymous=an1 device=dev1 ${ORDER} products p1`,
]

const cases = [
  ['segment node', 'node', ['sdks/segment-node.mjs'], filled(server, { ...usual, page: 'user=u1', track: 'anonymous=an1', products: ' products p1' })],
  ['segment python', python, ['sdks/segment_python.py'], filled(server, usual)],
  ['rudder node', 'node', ['sdks/rudder-node.mjs'], filled(server, usual)],
  ['rudder python', python, ['sdks/rudder_python.py'], filled(server, usual)],
  ['analytics-next', 'node', ['sdks/segment-next.mjs'], next],
  ['analytics-next batching', 'node', ['sdks/segment-next.mjs', 'batching'], next],
  ['rudder-js', 'node', ['sdks/rudder-js.mjs', 'none'], rudderJs],
  ['rudder-js batching', 'node', ['sdks/rudder-js.mjs', 'batching'], rudderJs],
  ['rudder-js beacon', 'node', ['sdks/rudder-js.mjs', 'beacon'], rudderJs],
  ...['segment kotlin', 'segment swift', 'rudder kotlin', 'rudder swift']
    .map((name) => [`${name} (as documented)`, 'node', ['sdks/mobile.mjs', name], phone(name.startsWith('rudder') ? ' email=a@b.c' : '')]),
]

const KINDS = { 1: 'user', 2: 'email', 3: 'phone', 4: 'anonymous', 5: 'device' }

function summary(event) {
  const parts = [event.type]
  if (event.name) parts.push(event.name)
  for (const { kind, value } of event.identifiers) parts.push(`${KINDS[kind]}=${value}`)
  if (event.order) parts.push(`order ${event.order.change} ${event.order.order_id} ${event.order.value_minor} ${event.order.currency}`)
  if (event.products.length > 0) parts.push(`products ${event.products.join(',')}`)
  return parts.join(' ')
}

function run(command, args, door) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env: { ...process.env, DOOR: door, PYTHONDONTWRITEBYTECODE: '1' }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data) => { output += data })
    child.stderr.on('data', (data) => { output += data })
    const timer = setTimeout(() => child.kill('SIGKILL'), SDK_TIMEOUT_MS)
    child.on('close', (code) => { clearTimeout(timer); resolve({ code, output }) })
  })
}

const recorder = spawn(recorderPath, ['127.0.0.1:0'], { stdio: ['pipe', 'pipe', 'inherit'] })
let arrived = []
const door = await new Promise((resolve, reject) => {
  recorder.on('exit', (code) => reject(new Error(`the recorder ended with ${code}`)))
  createInterface({ input: recorder.stdout }).on('line', (line) => {
    const message = JSON.parse(line)
    message.listening ? resolve(message.listening) : arrived.push(message)
  })
})

let failed = 0
for (const [name, command, args, expected] of cases) {
  arrived = []
  const { code, output } = await run(command, args, door)
  const until = Date.now() + ARRIVAL_TIMEOUT_MS
  while (arrived.length < expected.length && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50))
  const problems = []
  const found = arrived.map(summary).sort()
  if (JSON.stringify(found) !== JSON.stringify([...expected].sort())) {
    problems.push(`expected\n    ${[...expected].sort().join('\n    ')}\n  arrived\n    ${found.join('\n    ')}`)
  }
  if (code !== 0) problems.push(`the SDK ended with ${code}`)
  const late = arrived.filter((event) => Math.abs(event.behind_us) > BEHIND_US_MAX)
  if (late.length > 0) problems.push(`${late.length} events are placed at a wrong time`)
  // Apps carry their write key to everybody, as pages do.
  const isPublic = /next|js|documented/.test(name)
  if (arrived.some((event) => event.from_server === isPublic)) problems.push('the kind of write key is wrong')
  if (isPublic && arrived.some((event) => event.context?.ip !== '127.0.0.1')) problems.push('the address is missing')
  console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${name}: ${found.length} events`)
  if (problems.length > 0) {
    failed += 1
    console.log(`  ${problems.join('\n  ')}\n${output.slice(0, 2000)}`)
  }
}
recorder.removeAllListeners('exit')
recorder.stdin.end()
process.exit(failed === 0 ? 0 : 1)
