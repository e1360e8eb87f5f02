// Reads Parquet files with hyparquet, which shares no code with the engine that wrote them. In: JSON on standard input,
// {"files": [{"url", "bytes"}], "flight": name of the events to add up}. Out: a JSON array for each row, and at last an
// object with the totals.

import { asyncBufferFromUrl, parquetRead } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

const columns = ['uuid', 'event', 'distinct_id', 'timestamp', 'properties']
// Without this a time would become a Date, which holds no microseconds.
const parsers = { timestampFromMicroseconds: micros => micros }

const { files, flight } = JSON.parse(await text(process.stdin))
const totals = { rows: 0, delay: 0, distance: 0 }

for (const { url, bytes } of files) {
  const file = await asyncBufferFromUrl({ url, byteLength: bytes })
  let rows = []
  await parquetRead({ file, columns, compressors, parsers, rowFormat: 'object', onComplete: all => { rows = all } })
  for (let from = 0; from < rows.length; from += 1000) {
    const lines = rows.slice(from, from + 1000).map(row => {
      totals.rows++
      if (row.event === flight) {
        const { delay, distance } = JSON.parse(row.properties)
        totals.delay += delay
        totals.distance += distance
      }
      return JSON.stringify([row.uuid, row.event, row.distinct_id, String(row.timestamp), row.properties]) + '\n'
    })
    if (!process.stdout.write(lines.join(''))) await once(process.stdout, 'drain')
  }
}
process.stdout.write(JSON.stringify(totals) + '\n')
