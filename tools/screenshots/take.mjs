// Takes the pictures in the docs from a demo that is up, and tries out what the docs say of the UI. `make
// docs/screenshots` calls it with the addresses in its environment.

import { chromium } from 'playwright-core'
import { mkdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { backfillByHand } from './backfill.mjs'
import { byHand } from './byhand.mjs'

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url))
const browser = process.env.CHROMIUM
const schedule = process.env.DEMO_SCHEDULE_URL
const run = process.env.DEMO_RUN_URL
if (!browser || !schedule || !run) throw new Error('CHROMIUM, DEMO_SCHEDULE_URL and DEMO_RUN_URL must be set: call `make docs/screenshots`')

// What each picture shows, how high the page has to be for it, and a text that is there when it is complete. The frame
// of the details is lower than what is in it.
const pictures = [
  { name: 'schedule', url: schedule, height: 900, text: 'Upcoming Runs' },
  { name: 'run', url: run + '?sort=ascending', height: 1090, text: 'write the ledger row' },
  { name: 'details', url: run.replace(/\/history$/, '/user-metadata'), height: 800, text: 'Current Details', style: 'iframe { height: 26rem !important }' },
]

mkdirSync(folder, { recursive: true })
// Chromium refuses to run as root inside its own sandbox; the only pages it sees are our own.
const chrome = await chromium.launch({ executablePath: browser, args: process.getuid() === 0 ? ['--no-sandbox'] : [] })

// save takes a picture of a page, or of a part of it with a margin.
async function save(name, page, part) {
  const path = `${folder}${name}.png`
  // The button that scrolls down would lie over the picture.
  await page.addStyleTag({ content: '.jump-to-bottom { display: none }' })
  const options = { path, animations: 'disabled' }
  if (part) {
    const { x, y, width, height } = await part.boundingBox()
    Object.assign(options, { clip: { x: x - margin, y: y - margin, width: width + 2 * margin, height: height + 2 * margin }, fullPage: true })
  }
  await page.screenshot(options)
  console.log(`docs/screenshots/${name}.png  ${Math.ceil(statSync(path).size / 1024)} KiB`)
}

const margin = 16
const open = (height) => chrome.newPage({ viewport: { width: 1280, height }, reducedMotion: 'reduce', timezoneId: 'UTC' })

try {
  for (const { name, url, height, text, style } of pictures) {
    const page = await open(height)
    await page.goto(url, { waitUntil: 'networkidle' })
    await page.getByText(text).first().waitFor({ state: 'visible', timeout: 20_000 })
    if (style) await page.addStyleTag({ content: style })
    await save(name, page)
    await page.close()
  }
  const page = await open(1800)
  page.setDefaultTimeout(20_000)
  const lastMinute = decodeURIComponent(run).match(/-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\//)[1]
  await byHand(page, schedule.replace(/\/[^/]*$/, ''), lastMinute, (form) => save('create', page, form))
  await page.setViewportSize({ width: 1280, height: 800 })
  await backfillByHand(page, schedule.replace(/\/schedules\/.*$/, '/workflows'), async () => {
    await page.addStyleTag({ content: 'iframe { height: 26rem !important }' })
    await save('backfill', page)
  })
} finally {
  await chrome.close()
}
