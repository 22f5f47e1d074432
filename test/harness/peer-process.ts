/** The server behind startPeer(): TCP and UDP on the port given, HTTP on the one after, IPv4 and IPv6. */

import { createSocket } from 'node:dgram'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'

const port = Number(process.argv[2])
const plain = (address = ''): string => address.replace(/^::ffff:/, '')

const tcp = createServer(socket => {
  socket.on('error', () => {})
  socket.on('data', line => socket.write(`${plain(socket.remoteAddress)} ${line}`))
})
const http = createHttpServer((request, response) => {
  response.end(`${plain(request.socket.remoteAddress)} ${request.method} ${request.url}\n`)
})
const udp = createSocket('udp6')
udp.on('message', (line, from) => udp.send(`${plain(from.address)} ${line}`, from.port, from.address))

tcp.listen(port, '::', () =>
  http.listen(port + 1, '::', () => udp.bind(port, '::', () => process.stdout.write('listening\n'))),
)
