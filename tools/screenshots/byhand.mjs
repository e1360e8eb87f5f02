// Makes an export in Temporal's UI as a person would, by clicking and typing alone, uses it and removes it. What
// docs/temporal.md says of the UI is held by this: the labels, the order, and what comes of it.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const name = 'flights-by-hand'
const definition = {
  name, title: 'Flights, every minute, made in the UI', team: 1, model: 'events', connection: 'lake', every: '1m',
  s3: { prefix: 'by-hand', format: 'parquet', compression: 'zstd' },
}

// byHand works in a page that shows UTC. picture is called with the form when it is filled. lastMinute is when the
// interval ended that has the demo's last events.
export async function byHand(page, schedules, lastMinute, picture) {
  await page.goto(schedules, { waitUntil: 'networkidle' })
  await create(page, picture)
  await warned()
  await open(page, schedules, 'SKIP')
  await trigger(page)
  await backfill(page, schedules, lastMinute)
  await pause(page, schedules)
  setPolicy()
  await edit(page, schedules)
  await remove(page, schedules)
}

async function create(page, picture) {
  await page.getByText('Create Schedule').first().click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByLabel('Workflow Type').fill('Export')
  await page.getByLabel('Workflow Id').fill(name)
  await page.getByLabel('Task Queue').fill('millrace')
  await page.locator('.cm-content').first().click() // Data, below Input
  await page.keyboard.insertText(JSON.stringify(definition, null, 2))
  await page.getByRole('radio', { name: 'json/plain' }).isChecked() || fail('the encoding is not json/plain by itself')
  await interval(page, 'min', '1')
  await picture(page.locator('form').first())
  await page.getByRole('button', { name: 'Create Schedule' }).click()
  await page.getByRole('link', { name, exact: true }).waitFor() // the list
}

// interval fills one of the boxes under Schedule Spec, Interval.
async function interval(page, unit, value) {
  await page.getByRole('tab', { name: 'Interval' }).click()
  await page.getByRole('tabpanel', { name: 'Interval' }).getByRole('textbox', { name: unit, exact: true }).fill(value)
}

// warned asks for the warning that sends people to the update, for the form knows no policy.
async function warned() {
  const told = spawnSync('bin/millrace', ['status', name], { cwd: root, encoding: 'utf8' })
  const text = told.stdout + told.stderr
  if (told.status !== 0 || !text.includes('overlap policy Skip loses an interval')) fail(`millrace status does not warn:\n${text}`)
}

// setPolicy is what a person does about the warning.
function setPolicy() {
  const done = spawnSync('temporal', ['schedule', 'update', '--schedule-id', name, '--workflow-id', name, '--type', 'Export',
    '--task-queue', 'millrace', '--interval', '1m', '--overlap-policy', 'AllowAll', '--catchup-window', '8760h',
    '--input', JSON.stringify(definition)], { encoding: 'utf8' })
  if (done.status !== 0) fail(`temporal schedule update: ${done.error ?? done.stderr}`)
}

// open looks whether a schedule has a policy.
async function open(page, schedules, policy) {
  await page.goto(`${schedules}/${name}`, { waitUntil: 'networkidle' })
  await page.getByText('Advanced Settings').click()
  await page.getByText(`SCHEDULE_OVERLAP_POLICY_${policy}`, { exact: true }).waitFor()
  await page.getByText('1 year', { exact: true }).waitFor() // the catch-up window
}

// choose opens an entry of the menu beside Pause and returns its dialog.
async function choose(page, entry, title) {
  await page.getByRole('button', { name: 'Schedule Actions' }).click()
  await page.getByRole('menuitem', { name: entry }).click()
  const dialog = page.getByRole('dialog', { name: title })
  await dialog.waitFor()
  return dialog
}

async function trigger(page) {
  const began = Date.now()
  const dialog = await choose(page, 'Trigger', 'Trigger Immediately')
  await dialog.getByText('Allow All', { exact: true }).click()
  await dialog.getByRole('button', { name: 'Trigger' }).click()
  // The schedule itself starts on the full minute, and a trigger mostly at another second.
  const runs = page.getByRole('link', { name: new RegExp(`^${name}-`) })
  await runs.first().waitFor()
  await runs.first().click()
  const outcome = await result(page)
  console.log(`triggered in the UI: ${outcome.status}, ${outcome.rows} rows, ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

async function backfill(page, schedules, minute) {
  await page.goto(`${schedules}/${name}`, { waitUntil: 'networkidle' })
  const dialog = await choose(page, 'Backfill', 'Schedule Backfill')
  // hrs, min and sec of Start, and those of End: both are times of starts, and both are taken in.
  const [, hours, minutes, seconds] = minute.match(/T(\d\d):(\d\d):(\d\d)Z$/)
  const boxes = dialog.locator('input[maxlength="2"]')
  for (const [i, value] of [hours, minutes, seconds, hours, minutes, seconds].entries()) await boxes.nth(i).fill(value)
  await dialog.getByText('Allow All', { exact: true }).click()
  await dialog.getByRole('button', { name: 'Schedule', exact: true }).click()
  await page.getByRole('link', { name: `${name}-${minute}`, exact: true }).first().click()
  const outcome = await result(page)
  if (!(outcome.rows > 0) || outcome.run.end !== minute) fail(`the backfill of ${minute} ended with ${JSON.stringify(outcome)}`)
  console.log(`backfilled in the UI: ${outcome.status}, ${outcome.rows} rows`)
}

// result waits until a run has completed and reads the Result of its page.
async function result(page) {
  const box = page.locator('xpath=//h2[normalize-space()="Result"]/following::*[contains(@class, "cm-content")][1]')
  await page.getByText('Completed', { exact: true }).first().waitFor({ timeout: 60_000 })
  await box.getByText('"status"').waitFor()
  const outcome = JSON.parse(await box.innerText())
  if (!['published', 'already_done'].includes(outcome.status)) fail(`the run ended with ${JSON.stringify(outcome)}`)
  return outcome
}

async function pause(page, schedules) {
  await page.goto(`${schedules}/${name}`, { waitUntil: 'networkidle' })
  for (const [act, reason, becomes] of [['Pause', 'the bucket moves', 'Paused'], ['Unpause', 'the bucket has moved', 'Running']]) {
    await page.getByRole('button', { name: act, exact: true }).click()
    const dialog = page.getByRole('dialog', { name: `${act} Schedule?` })
    await dialog.getByLabel('Reason').fill(reason)
    await dialog.getByRole('button', { name: act, exact: true }).click()
    await page.getByText(reason, { exact: true }).waitFor() // under Notes
    await page.getByText(becomes, { exact: true }).first().waitFor()
  }
}

// edit saves other times, and keeps what the form does not show.
async function edit(page, schedules) {
  await open(page, schedules, 'ALLOW_ALL')
  await page.getByRole('button', { name: 'Schedule Actions' }).click()
  await page.getByRole('menuitem', { name: 'Edit' }).click()
  await page.getByRole('heading', { name: 'Edit Schedule' }).waitFor()
  await interval(page, 'min', '2')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.waitForURL(`${schedules}/${name}`)
  await page.getByText('"120s"').waitFor()
  await open(page, schedules, 'ALLOW_ALL')
}

async function remove(page, schedules) {
  await page.goto(`${schedules}/${name}`, { waitUntil: 'networkidle' })
  const dialog = await choose(page, 'Delete', 'Delete Schedule?')
  await dialog.getByRole('button', { name: 'Delete', exact: true }).click()
  await page.waitForURL(schedules)
}

function fail(message) {
  throw new Error(message)
}
