// Sends what an SDK for phones would: `node mobile.mjs 'segment kotlin'`. As those do, it sends a file again until it
// hears of success, and stops where the door refuses it for good. Prints what its settings call was answered.
import { request } from 'node:http'
import { gzipSync } from 'node:zlib'
import { PHONES } from './mobile-table.mjs'

const { DOOR, WRITE_KEY = 'PUBLIC' } = process.env
const TRIES = 12
const PAUSE_MS = 300
const [host, port] = DOOR.split(':')
const phone = PHONES[process.argv[2]]

function send(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, method, path, headers, agent: false }, (answer) => {
      let text = ''
      answer.on('data', (data) => { text += data }).on('error', reject)
      answer.on('end', () => resolve({ status: answer.statusCode, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const [path, headers] = phone.settings(WRITE_KEY)
const settings = await send('GET', path, headers)
if (settings.status !== 200) throw new Error(`settings: ${settings.status} ${settings.text}`)
console.log(settings.text)

for (const upload of phone.uploads(WRITE_KEY, 'an1')) {
  for (let times = 0; ; times += 1) {
    const plain = Buffer.from(upload.body())
    const body = upload.headers['Content-Encoding'] === 'gzip' ? gzipSync(plain) : plain
    const length = upload.chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': body.length }
    const retried = times > 0 ? upload.again(times) : {}
    const answer = await send('POST', upload.path, { ...upload.headers, ...length, ...retried }, body).catch(() => ({ status: 0 }))
    if (answer.status === 200) break
    const isFinal = answer.status >= 400 && answer.status < 500 && answer.status !== 429
    if (isFinal || times === TRIES) throw new Error(`${upload.path}: ${answer.status} ${answer.text}`)
    await new Promise((done) => setTimeout(done, PAUSE_MS))
  }
}
