// A real server for the tests: started on ports of its own, killed, started again, and asked what it took.
import { spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const START_MS = 30_000
const PAUSE_MS = 100
/** How long a test waits for something to arrive. Nothing is measured by it: it only ends a test that failed. */
export const PATIENCE_MS = 60_000

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

/** Asks until there is an answer that is not false, and says what was waited for where it never comes. */
export async function until(what, ask, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`not within ${patienceMs / 1000} s: ${what}`)
    await sleep(PAUSE_MS)
  }
}

/** Below the ports that outgoing connections get: one of those could take the place of a server that is down. */
const PORTS = { from: 20_000, to: 32_000 }
const given = new Set()

/** A port that nobody listens on, and that this program gives nobody else. */
export async function freePort() {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from))
    const free = !given.has(port) && await new Promise((resolve) => {
      const probe = createServer().once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (!free) continue
    given.add(port)
    return port
  }
}

/** Servers that run: none may outlive this program, however it ends. */
const running = new Set()
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

export class Server {
  #child
  #said = ''

  /** `settings` are more `key=value` of the configuration. */
  constructor(binary, settings = []) {
    this.binary = binary
    this.settings = settings
    this.folder = mkdtempSync(join(tmpdir(), 'throughline-sdk-'))
  }

  async start() {
    this.port ??= await freePort()
    this.adminPort ??= await freePort()
    this.profilesPort ??= await freePort()
    const set = [`listen.ingest=127.0.0.1:${this.port}`, `listen.admin=127.0.0.1:${this.adminPort}`,
      `listen.profiles=127.0.0.1:${this.profilesPort}`, ...this.settings]
    const args = ['serve', '--data', join(this.folder, 'data'), ...set.flatMap((one) => ['--set', one])]
    const child = spawn(this.binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    child.stdout.on('data', (data) => { this.#said += data })
    child.stderr.on('data', (data) => appendFileSync(join(this.folder, 'log'), data))
    await until('the server answers', async () => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}: ${this.#said}`)
      return (await fetch(`http://127.0.0.1:${this.port}/health`).catch(() => null))?.ok
    }, START_MS)
    // Its keys are said once, at the first start.
    const word = (line) => this.#said.match(new RegExp(`^  ${line} +(\\S+)`, 'm'))?.[1]
    this.token ??= await until('the token is said', () => word('admin token'))
    this.serverKey ??= await until('the server key is said', () => word('server write key'))
    this.browserKey ??= await until('the browser key is said', () => word('browser write key'))
    return this
  }

  /** As the kernel would: nothing is flushed, nobody is told. */
  async kill() {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGKILL')
    await ended
  }

  async close() {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #ask(port, path, options = {}) {
    const headers = { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' }
    return fetch(`http://127.0.0.1:${port}${path}`, { headers, ...options })
  }

  /** Changes something in the admin API, and gives its answer. */
  async admin(method, path, body) {
    const answer = await this.#ask(this.adminPort, path, { method, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }

  /** Every event that counted, in order, with the profile that it counted for: the change feed from its beginning. */
  async counted() {
    const answer = await this.#ask(this.profilesPort, '/feed/v1?kinds=event.accepted')
    const lines = (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line))
    return lines.filter((line) => line.kind === 'event.accepted').map((line) => ({ ...line.event, profile: line.profile }))
  }

  /** The profile that an identifier belongs to, or nothing. */
  async profile(type, value) {
    const body = JSON.stringify({ identifier: { type, value } })
    const answer = await this.#ask(this.profilesPort, '/v1/profiles/lookup', { method: 'POST', body })
    return answer.ok ? answer.json() : null
  }
}
