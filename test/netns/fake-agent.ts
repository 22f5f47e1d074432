/**
 * Stands in for overlayd: answers at a unix socket and notes every request in a file, one a line. Usage: fake-agent.js SOCKET FILE
 * [VERB-TO-REFUSE]
 */

import { appendFileSync, mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname } from 'node:path'

const [, , socket = '', file = '', refused] = process.argv
const joined = { vni: 4242, port: 4789, local: '192.0.2.1', mtu: 0 }

mkdirSync(dirname(socket), { recursive: true })
createServer({ allowHalfOpen: true }, connection => {
  let text = ''
  connection.on('data', part => {
    text += part
    if (!text.endsWith('\n')) return
    const { verb } = JSON.parse(text)
    appendFileSync(file, text)
    const error = { code: 104, msg: `${verb} is refused`, details: 'by the test' }
    connection.end(`${JSON.stringify(verb === refused ? { error } : { answer: verb === 'join' ? joined : {} })}\n`)
  })
}).listen(socket, () => process.stdout.write('listening\n'))
