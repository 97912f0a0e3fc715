// A real Chromium, headless, with a profile of its own, that talks to nobody but the pages it is sent to.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { chromium } from 'playwright-core'

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** The path of the first Chromium that runs: the variable CHROMIUM, or what is on the path. Nothing where there is none. */
function installed() {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean)
  const files = names.flatMap((name) => (isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name))))
  return files.find((file) => existsSync(file) && spawnSync(file, ['--version']).status === 0)
}

/** A new browser, or nothing where none is installed. */
export async function launch() {
  const executablePath = installed()
  return executablePath && chromium.launch({ executablePath, args: FLAGS })
}
