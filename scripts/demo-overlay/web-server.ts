/** A web server that answers with its name. Arguments: the name, and the ports it listens on. */

import { createServer } from 'node:http'

const [name = '', ...ports] = process.argv.slice(2)
const listening = ports.map(
  port =>
    new Promise<void>(resolve => {
      const server = createServer((_, response) => {
        response.setHeader('connection', 'close')
        response.end(`${name}\n`)
      })
      server.listen(Number(port), '::', resolve)
    }),
)
await Promise.all(listening)
process.stdout.write('listening\n')
