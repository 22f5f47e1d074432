/**
 * A program that listens, for tests of what others see of it. Its name is "listener". Arguments, one for each socket:
 * tcp|udp, the address, the port, and "v6only" or "connected" where that is wanted: tcp,::,8080,v6only
 */

import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

process.title = 'listener'

function listen(spec: string): Promise<void> {
  const [transport = '', address = '', portText = '', kind = ''] = spec.split(',')
  const [port, ipv6Only] = [Number(portText), kind === 'v6only']
  return new Promise(ready => {
    if (transport === 'tcp') {
      createServer().listen({ host: address, port, ipv6Only }, ready)
    } else {
      const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only })
      socket.bind(port, address, () => (kind === 'connected' ? socket.connect(9, '127.0.0.1', ready) : ready()))
    }
  })
}

await Promise.all(process.argv.slice(2).map(listen))
process.stdout.write('listening\n')
