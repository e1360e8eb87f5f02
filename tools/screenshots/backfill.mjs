// Starts a backfill in Temporal's UI as a person would, by clicking and typing alone, and waits for its details. What
// docs/backfills.md says of the UI is held by this.

const name = 'flights-past'
const input = {
  definition: {
    name, title: 'Flights, from the first on', team: 1, model: 'events', connection: 'lake', every: '1m',
    s3: { prefix: 'past', format: 'parquet', compression: 'zstd' },
  },
  parallel: 4,
}

// backfillByHand begins at the list of workflows of a namespace. picture is called when all is published.
export async function backfillByHand(page, workflows, picture) {
  await page.goto(workflows, { waitUntil: 'networkidle' })
  await page.getByRole('link', { name: 'Start Workflow' }).or(page.getByRole('button', { name: 'Start Workflow' })).first().click()
  await page.getByLabel('Workflow ID', { exact: true }).fill(`backfill-${name}`)
  await page.getByLabel('Task Queue', { exact: true }).fill('millrace')
  await page.getByLabel('Workflow Type', { exact: true }).fill('Backfill')
  await page.locator('.cm-content').first().click() // Data, below Input
  await page.keyboard.insertText(JSON.stringify(input, null, 2))
  await page.getByRole('button', { name: 'Start Workflow' }).last().click()
  await page.goto(`${workflows}/backfill-${name}`, { waitUntil: 'networkidle' })
  await page.getByText('Completed', { exact: true }).first().waitFor({ timeout: 60_000 })
  await page.goto(page.url().replace(/\/(history|timeline)(\?.*)?$/, '/user-metadata'), { waitUntil: 'networkidle' })
  const details = page.frameLocator('iframe').last()
  await details.getByText('published by this backfill').waitFor()
  const told = await details.locator('body').innerText()
  if (!/published by this backfill\s+[1-9]/.test(told)) throw new Error(`the backfill's details are ${JSON.stringify(told)}`)
  await picture()
  console.log(`backfilled from the form Start Workflow: ${told.match(/published by this backfill\s+([^\n]*)/)[1]}`)
}
