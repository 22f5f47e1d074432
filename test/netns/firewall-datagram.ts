/**
 * Datagrams from and to groups. "listen GROUP PORT INTERFACE" prints the source of each datagram that arrives; "send
 * SOURCE GROUP PORT INTERFACE" sends one from the address. INTERFACE is an address of the interface, or with IPv6
 * "::%name".
 */

import { createSocket } from 'node:dgram'

const [verb = '', ...rest] = process.argv.slice(2)
const socketFor = (address: string) => createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', reuseAddr: true })

if (verb === 'listen') {
  const [group = '', port = '', link = ''] = rest
  const socket = socketFor(group)
  socket.on('message', (_, from) => process.stdout.write(`from ${from.address}\n`))
  socket.bind(Number(port), () => {
    socket.addMembership(group, link)
    process.stdout.write('listening\n')
  })
} else {
  const [source = '', group = '', port = '', link = ''] = rest
  const socket = socketFor(group)
  socket.bind(0, source, () => {
    socket.setMulticastInterface(link)
    socket.setMulticastTTL(4)
    socket.send('hello', Number(port), group, () => socket.close())
  })
}
