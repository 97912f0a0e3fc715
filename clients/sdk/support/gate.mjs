// What stands between an SDK and the server and can be told to misbehave: it refuses, loses answers, holds requests
// back, and kills the server while a request is half through. It keeps what passed.
import { createServer, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { freePort } from './server.mjs'

/** The events of a request, as the SDK wrote them. */
function eventsOf(path, headers, body) {
  if (!/^\/(beacon\/)?v1\//.test(path) || /^\/v1\/(m$|projects\/)/.test(path) || body.length === 0) return []
  try {
    const text = (headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()
    const parsed = JSON.parse(text)
    return parsed.batch ?? [parsed]
  } catch {
    return []
  }
}

/** What the server's own answers say to a page of another origin; the SDKs must be able to read Retry-After. */
function corsOf(headers) {
  if (!headers.origin) return {}
  return {
    'Access-Control-Allow-Origin': headers.origin, 'Access-Control-Allow-Credentials': 'true',
    'Access-Control-Expose-Headers': 'Retry-After', Vary: 'Origin',
  }
}

export const pass = { does: 'pass' }
/** An answer that the server did not give. */
export const refuse = (status, retryAfterS) => ({ does: 'refuse', status, retryAfterS })
/** The server takes it, and whoever sent it never learns. */
export const loseAnswer = { does: 'loseAnswer' }
/** The server takes it, and the connection stays open without a word. */
export const fallSilent = { does: 'fallSilent' }
/** Waits for `released`; what was given up meanwhile never reaches the server. */
export const hold = (released) => ({ does: 'hold', released })
/** The server is killed when half of the request is there, and started again. */
export const killAtHalf = { does: 'killAtHalf' }
/** The server is killed when all of the request is there and before it can answer, and started again. */
export const killAtEnd = { does: 'killAtEnd' }

export class Gate {
  /** Requests with events, in order: `events`, `headers`, `at_ms`, and `outcome`, a status or what became of it. */
  requests = []
  /** Decides what becomes of a request with events. */
  plan = () => pass
  #sockets = new Set()
  #isDown = false

  constructor(server) {
    this.server = server
  }

  async open() {
    this.port ??= await freePort()
    this.http = createServer((asked, answer) => this.#take(asked, answer))
    this.http.keepAliveTimeout = 60_000
    this.http.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {})
    })
    await new Promise((done) => this.http.listen(this.port, '127.0.0.1', done))
    return this
  }

  async close() {
    const closed = new Promise((done) => this.http.close(done))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  get address() {
    return `127.0.0.1:${this.port}`
  }

  /** How often each message was sent, by its id. */
  sent() {
    const counts = new Map()
    for (const { messageId } of this.requests.flatMap((one) => one.events)) counts.set(messageId, (counts.get(messageId) ?? 0) + 1)
    return counts
  }

  async #take(asked, answer) {
    const parts = []
    asked.on('error', () => {})
    for await (const part of asked) parts.push(part)
    const body = Buffer.concat(parts)
    const events = eventsOf(asked.url, asked.headers, body)
    const record = { path: asked.url, headers: asked.headers, events, at_ms: Date.now(), outcome: 'open' }
    if (events.length > 0) this.requests.push(record)
    if (this.#isDown) {
      record.outcome = 'server away'
      asked.socket.destroy()
      return
    }
    const action = asked.method === 'POST' && events.length > 0 ? this.plan(record) : pass
    if (action.does === 'hold') {
      answer.on('close', () => { if (record.outcome === 'open') record.outcome = 'given up' })
      await action.released
      if (record.outcome === 'given up') return
    }
    switch (action.does) {
      case 'refuse': {
        record.outcome = action.status
        const retryAfter = action.retryAfterS ? { 'Retry-After': String(action.retryAfterS) } : {}
        answer.writeHead(action.status, { 'Content-Type': 'application/json', ...corsOf(asked.headers), ...retryAfter })
        answer.end('{"success":false,"code":"busy","message":"send it again a little later"}')
        break
      }
      case 'loseAnswer':
        record.outcome = 'answer lost'
        await this.#forward(asked, body).catch(() => {})
        asked.socket.destroy()
        break
      case 'fallSilent':
        record.outcome = 'no answer'
        await this.#forward(asked, body)
        break
      case 'killAtHalf':
      case 'killAtEnd':
        record.outcome = 'killed'
        await this.#kill(asked, body, action.does === 'killAtHalf' ? Math.floor(body.length / 2) : body.length)
        break
      default:
        await this.#answer(asked, body, answer, record)
    }
  }

  async #answer(asked, body, answer, record) {
    try {
      const given = await this.#forward(asked, body)
      record.outcome = given.status
      answer.writeHead(given.status, given.headers)
      answer.end(given.body)
    } catch {
      record.outcome = 'server away'
      asked.socket.destroy()
    }
  }

  #forward(asked, body) {
    return new Promise((resolve, reject) => {
      const { 'transfer-encoding': _, ...headers } = asked.headers
      if (body.length > 0) headers['content-length'] = body.length
      const options = { host: '127.0.0.1', port: this.server.port, method: asked.method, path: asked.url, headers, agent: false }
      const sent = httpRequest(options, (given) => {
        const parts = []
        given.on('data', (part) => parts.push(part)).on('error', reject)
        given.on('end', () => resolve({ status: given.statusCode, headers: given.headers, body: Buffer.concat(parts) }))
      })
      sent.on('error', reject)
      sent.end(body)
    })
  }

  /** Nobody can connect until the server is there again, on its old port, as where no gate were between. */
  async #kill(asked, body, bytes) {
    this.#isDown = true
    const { 'transfer-encoding': _, ...headers } = { ...asked.headers, 'content-length': body.length, connection: 'close' }
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const socket = connect(this.server.port, '127.0.0.1')
    socket.on('error', () => {})
    const given = new Promise((done) => socket.once('data', done))
    await new Promise((done) => socket.once('connect', done))
    const written = [Buffer.from(`${asked.method} ${asked.url} HTTP/1.1\r\n${head}\r\n`), body.subarray(0, bytes)]
    await new Promise((done) => socket.write(Buffer.concat(written), done))
    // Half a request waits for the other half. A whole one may or may not be durable: both must come to once.
    if (bytes < body.length) await Promise.race([given, new Promise((done) => setTimeout(done, 50))])
    await this.server.kill()
    socket.destroy()
    await this.close()
    await this.server.start()
    await this.open()
    this.#isDown = false
  }
}

/** The plan in which each message meets 429 with Retry-After first, then 503, and is let through after that. */
export function refuseTwice(retryAfterS = 1) {
  const met = new Map()
  return ({ events }) => {
    const times = Math.min(...events.map(({ messageId }) => met.get(messageId) ?? 0))
    for (const { messageId } of events) met.set(messageId, (met.get(messageId) ?? 0) + 1)
    return [refuse(429, retryAfterS), refuse(503)][times] ?? pass
  }
}

/** The plan in which the first request passes, the answer of the second is lost, and the server dies in the next two. */
export function lossAndDeath() {
  const plan = [pass, loseAnswer, killAtHalf, killAtEnd]
  return () => plan.shift() ?? pass
}
