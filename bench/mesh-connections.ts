/**
 * `<address> <port> <count>`: opens so many TCP connections, some at a time, each asked one line; prints how many a second
 * that were. Run by the case "mesh" in the client's namespace.
 */

import { connect } from 'node:net'

const AT_A_TIME = 8
const [address = '', port = '', count = ''] = process.argv.slice(2)

function connection(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: Number(port), noDelay: true })
    socket.on('connect', () => socket.write('hello\n'))
    socket.on('error', reject)
    socket.on('data', () => {
      // Leaves no port waiting for stray packets.
      socket.resetAndDestroy()
      resolve()
    })
  })
}

async function several(number: number): Promise<void> {
  for (let index = 0; index < number; index++) await connection()
}

const share = Math.ceil(Number(count) / AT_A_TIME)
// The first connections load code and fill caches.
await several(20)
const start = process.hrtime.bigint()
await Promise.all(Array.from({ length: AT_A_TIME }, () => several(share)))
const seconds = Number(process.hrtime.bigint() - start) / 1e9
process.stdout.write(`${(share * AT_A_TIME) / seconds}\n`)
