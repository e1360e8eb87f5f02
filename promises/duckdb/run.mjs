// Runs SQL from the standard input in DuckDB, and prints the rows of the last statement, one a line, tabs between values.
import { readFileSync } from 'node:fs'
import { DuckDBInstance } from '@duckdb/node-api'

const connection = await (await DuckDBInstance.create()).connect()
await connection.run("SET TimeZone = 'UTC'")
const statements = await connection.extractStatements(readFileSync(0, 'utf8'))
let result
for (let i = 0; i < statements.count; i++) {
  result = await (await statements.prepare(i)).runAndReadAll()
}
for (const row of result.getRows()) console.log(row.map(String).join('\t'))
