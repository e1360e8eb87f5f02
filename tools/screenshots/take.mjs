// Takes the pictures in the docs from a demo that is up. `make docs/screenshots` calls it with the addresses in its
// environment.

import { chromium } from 'playwright-core'
import { mkdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const browser = process.env.CHROMIUM
const schedule = process.env.DEMO_SCHEDULE_URL
const run = process.env.DEMO_RUN_URL
if (!browser || !schedule || !run) throw new Error('CHROMIUM, DEMO_SCHEDULE_URL and DEMO_RUN_URL must be set: call `make docs/screenshots`')

// What each picture shows, how high the page has to be for it, and a text that is there when it is complete. The button
// that scrolls down would lie over the picture, and the frame of the details is lower than what is in it.
const pictures = [
  { name: 'schedule', url: schedule, height: 900, text: 'Upcoming Runs' },
  { name: 'run', url: run + '?sort=ascending', height: 1090, text: 'write the ledger row' },
  { name: 'details', url: run.replace(/\/history$/, '/user-metadata'), height: 800, text: 'Current Details', style: 'iframe { height: 26rem !important }' },
]

mkdirSync(folder, { recursive: true })
// Chromium refuses to run as root inside its own sandbox; the only pages it sees are our own.
const chrome = await chromium.launch({ executablePath: browser, args: process.getuid() === 0 ? ['--no-sandbox'] : [] })
try {
  for (const { name, url, height, text, style } of pictures) {
    const page = await chrome.newPage({ viewport: { width: 1280, height }, reducedMotion: 'reduce' })
    await page.goto(url, { waitUntil: 'networkidle' })
    await page.getByText(text).first().waitFor({ state: 'visible', timeout: 20_000 })
    await page.addStyleTag({ content: `.jump-to-bottom { display: none } ${style ?? ''}` })
    const path = `${folder}${name}.png`
    await page.screenshot({ path, animations: 'disabled' })
    console.log(`docs/screenshots/${name}.png  ${Math.ceil(statSync(path).size / 1024)} KiB`)
    await page.close()
  }
} finally {
  await chrome.close()
}
