/** Tracked connections: found by what they are like, and deleted alone. */

import t from 'tap'
import type { IpAddress } from '../../lib/address/address.ts'
import { type ConnectionFilter, deleteConnections, listConnections } from '../../lib/netlink/netfilter/conntrack.ts'
import { ask, createOutside, type Host, outsideAddresses, startPeer, withHost } from '../harness/index.ts'
import { prefix, withNetfilter } from './firewall-fixture.ts'

const UDP = 17
const TCP = 6
const ip = (text: string): IpAddress => prefix(`${text}/${text.includes(':') ? 128 : 32}`).address
const { outside, host: own } = outsideAddresses

const list = (host: Host, filter: ConnectionFilter) => withNetfilter(host, socket => listConnections(socket, filter))
const remove = (host: Host, filter: ConnectionFilter) =>
  withNetfilter(host, socket => deleteConnections(socket, filter))

/** A host whose kernel tracks one UDP and one TCP connection for each family and port. */
async function withConnections(host: Host): Promise<void> {
  const world = createOutside(host)
  // Connections are tracked where a rule asks for their state.
  host.output(['nft', '-f', '-'], {
    input: 'table inet t { chain c { type filter hook output priority 0; ct state invalid drop; }; }',
  })
  await startPeer(host, world, 8080)
  await startPeer(host, world, 9090)
  for (const address of [outside.ipv4, outside.ipv6])
    for (const port of [8080, 9090])
      for (const transport of ['udp', 'tcp'] as const) ask(host, transport, address, port)
}

t.test('connections are listed as they are', t =>
  withHost(t, async host => {
    await withConnections(host)
    const all = list(host, { family: 'ip' })
    t.equal(all.length, 4)
    t.equal(list(host, { family: 'ip6', original: { protocol: UDP } }).length, 2)
    const [udp, ...none] = list(host, { family: 'ip', original: { protocol: UDP, destinationPort: 9090 } })
    t.same(none, [])
    const sourcePort = udp?.original.sourcePort
    t.match(udp, {
      original: { source: ip(own.ipv4), destination: ip(outside.ipv4), protocol: UDP, destinationPort: 9090 },
      reply: { source: ip(outside.ipv4), destination: ip(own.ipv4), sourcePort: 9090, destinationPort: sourcePort },
    })
  }),
)

t.test('each part of a filter counts, in either direction', t =>
  withHost(t, async host => {
    await withConnections(host)
    const count = (filter: ConnectionFilter) => list(host, filter).length
    t.equal(count({ family: 'ip', original: { destination: ip(outside.ipv4) } }), 4)
    t.equal(count({ family: 'ip', original: { destination: ip('203.0.113.1') } }), 0)
    t.equal(count({ family: 'ip', original: { source: ip(own.ipv4), protocol: TCP } }), 2)
    t.equal(count({ family: 'ip', original: { destinationPort: 8080 } }), 2, 'a port of any protocol')
    t.equal(count({ family: 'ip', reply: { protocol: UDP, sourcePort: 8080 } }), 1)
    t.equal(count({ family: 'ip', reply: { source: ip(outside.ipv4) }, original: { protocol: UDP } }), 2)
    t.equal(count({ family: 'ip6', reply: { source: ip(outside.ipv6) } }), 4)
    t.equal(count({ family: 'ip6', reply: { source: ip(own.ipv6) } }), 0)
  }),
)

t.test('deletion takes what the filter finds and nothing else', t =>
  withHost(t, async host => {
    await withConnections(host)
    t.equal(remove(host, { family: 'ip', original: { protocol: UDP, destinationPort: 8080 } }), 1)
    t.equal(list(host, { family: 'ip' }).length, 3)
    t.equal(list(host, { family: 'ip6' }).length, 4)
    t.equal(remove(host, { family: 'ip', original: { protocol: UDP, destinationPort: 8080 } }), 0, 'and again')
    t.equal(remove(host, { family: 'ip6', reply: { source: ip(outside.ipv6) } }), 4)
    t.equal(list(host, { family: 'ip6' }).length, 0)
    t.equal(list(host, { family: 'ip' }).length, 3)
  }),
)

t.test('pings are tracked and deleted too', t =>
  withHost(t, async host => {
    await withConnections(host)
    t.ok(host.pings(outside.ipv4))
    t.ok(host.pings(outside.ipv6))
    t.equal(remove(host, { family: 'ip', original: { protocol: 1 } }), 1)
    t.equal(remove(host, { family: 'ip6', original: { protocol: 58, destination: ip(outside.ipv6) } }), 1)
    t.equal(list(host, { family: 'ip', original: { protocol: 1 } }).length, 0)
  }),
)

t.test('a filter that asks for nothing deletes nothing', t =>
  withHost(t, async host => {
    await withConnections(host)
    t.throws(() => remove(host, { family: 'ip' }), TypeError)
    t.throws(() => remove(host, { family: 'ip', original: {}, reply: {} }), TypeError)
    t.equal(list(host, { family: 'ip' }).length, 4)
  }),
)
