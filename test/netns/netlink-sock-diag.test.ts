/** lib/netlink/sock-diag on the kernel, compared with ss(8). */

import t from 'tap'
import { formatAddress } from '../../lib/address/address.ts'
import { NetlinkError } from '../../lib/netlink/error.ts'
import { type BoundSocket, listBoundSockets, type Transport } from '../../lib/netlink/sock-diag/index.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { type Host, withHost } from '../harness/index.ts'
import { withNetlink } from './firewall-fixture.ts'
import { startListener, withUdpSockets } from './socket-fixture.ts'

const withDiagnostics = <T>(host: Host, use: (socket: NetlinkSocket) => T): T =>
  withNetlink(host, NetlinkProtocol.sockDiag, use)

const list = (host: Host, transport: Transport, ports: readonly number[]) =>
  withDiagnostics(host, socket => listBoundSockets(socket, transport, ports))

const portsOf = (sockets: readonly BoundSocket[]): number[] => sockets.map(({ port }) => port).sort((a, b) => a - b)

/** In the words of ss: "tcp *:8099 ino:123", where "*" is both families. */
function describe({ transport, address, port, v6Only, inode }: BoundSocket): string {
  const text = formatAddress(address)
  const wildcard = text === '::' && !v6Only
  return `${transport} ${wildcard ? '*' : address.length === 16 ? `[${text}]` : text}:${port} ino:${inode}`
}

function shownBySs(host: Host): string[] {
  const lines = host.output(['ss', '-HlntueO']).trim().split('\n')
  return lines.map(line => {
    const [netid, , , , local = ''] = line.split(/\s+/)
    const [, inode] = /ino:(\d+)/.exec(line) ?? []
    return `${netid} ${local.replace('[::ffff:127.0.0.1]', '127.0.0.1').replace(/%\w+/, '')} ino:${inode}`
  })
}

t.test('sockets of every kind are found as ss finds them', t =>
  withHost(t, async host => {
    await startListener(
      host,
      'tcp,0.0.0.0,8001',
      'tcp,127.0.0.1,8002',
      'tcp,::,8003',
      'tcp,::,8004,v6only',
      'tcp,::1,8005',
      'tcp,::ffff:127.0.0.1,8006',
      'udp,0.0.0.0,8001',
      'udp,127.0.0.1,8002',
      'udp,::,8003',
      'udp,::,8004,v6only',
      'udp,::1,8005',
    )
    const ports = [8001, 8002, 8003, 8004, 8005, 8006]
    const found = [...list(host, 'tcp', ports), ...list(host, 'udp', ports)]
    t.equal(found.length, 11)
    t.same(found.map(describe).sort(), shownBySs(host).sort())
    t.same(
      found.filter(one => one.v6Only && formatAddress(one.address) === '::').map(one => one.port),
      [8004, 8004],
    )
  }),
)

t.test('only the ports that are asked for are found, and connections are not', t =>
  withHost(t, async host => {
    await startListener(host, 'tcp,0.0.0.0,8001', 'tcp,0.0.0.0,8002', 'tcp,::,8003', 'udp,127.0.0.1,8001,connected')
    const client = host.start(['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/8002 && echo connected && sleep 100'])
    await client.says(/connected/)
    t.same(
      list(host, 'tcp', [8000, 8002, 8003]).map(one => one.port),
      [8002, 8003],
    )
    t.same(list(host, 'tcp', [7999, 8004]), [])
    t.same(list(host, 'tcp', []), [])
    t.same(list(host, 'udp', [8001]), [], 'a connected UDP socket takes nothing from others')
  }),
)

t.test('sockets of another namespace are not found', t =>
  withHost(t, async host => {
    const other = host.createContainer()
    await withUdpSockets(other, [{ address: '0.0.0.0', port: 8001 }], () => {
      t.same(list(host, 'udp', [8001]), [])
    })
  }),
)

t.test('a socket that is bound to a link tells which', t =>
  withHost(t, async host => {
    await withUdpSockets(host, [{ address: '0.0.0.0', port: 8001, device: 'lo' }], () => {
      t.match(list(host, 'udp', [8001]), [{ index: 1, port: 8001 }])
    })
  }),
)

t.test('of thousands of sockets the kernel tells those that are asked for, and all when all are asked for', t =>
  withHost(t, async host => {
    const sockets = Array.from({ length: 3000 }, (_, index) => ({ address: '127.0.0.1', port: 10_000 + index }))
    await withUdpSockets(host, sockets, () => {
      t.same(portsOf(list(host, 'udp', [10_000, 11_500, 12_999, 13_000])), [10_000, 11_500, 12_999])
      const every = sockets.map(({ port }) => port)
      t.same(portsOf(list(host, 'udp', every)), every, 'more than fit into one answer')
      // More ranges than the filter has room for.
      const second = every.filter(port => port % 2 === 0)
      t.same(portsOf(list(host, 'udp', second)), second)
      withDiagnostics(host, socket => {
        let answers = 0
        const dump = socket.dump.bind(socket)
        socket.dump = (format, message) => {
          const received = dump(format, message)
          answers += received.length
          return received
        }
        listBoundSockets(socket, 'udp', [11_500])
        t.equal(answers, 1, 'the others never leave the kernel')
      })
    })
  }),
)

t.test('sockets that share a port are all found', t =>
  withHost(t, async host => {
    const one = { address: '0.0.0.0', port: 8001, reuseAddress: true }
    await withUdpSockets(host, [one, one], () => {
      t.equal(new Set(list(host, 'udp', [8001]).map(({ inode }) => inode)).size, 2)
    })
  }),
)

t.test('a protocol that the kernel cannot tell of is an error that says so', t =>
  withHost(t, host => {
    withDiagnostics(host, socket => {
      try {
        t.same(listBoundSockets(socket, 'sctp', [1]), [], 'this kernel has SCTP')
      } catch (error) {
        t.ok(error instanceof NetlinkError)
        t.match(error, { errno: Errno.ENOENT, operation: 'list IPv4 sockets of SCTP' })
      }
    })
  }),
)
