/** What becomes of packets: two containers behind a routing host, an outside that knows no route to them. */

import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { addMasquerade, deleteMasquerade, type MasqueradeBackend } from '../../lib/firewall/masquerade.ts'
import {
  ask,
  type Child,
  createOutside,
  type Host,
  type NetworkNamespace,
  outsideAddresses,
  startPeer,
  withHost,
} from '../harness/index.ts'
import { inside, prefix } from './firewall-fixture.ts'

const datagram = join(dirname(fileURLToPath(import.meta.url)), 'firewall-datagram.js')
const { outside: world, host: own } = outsideAddresses
const addresses = (number: number) => ({ ipv4: `10.1.0.${number}`, ipv6: `fd00:1::${number}` })
const prefixes = (number: number) => [prefix(`10.1.0.${number}/16`), prefix(`fd00:1::${number}/64`)]
const attachment = { network: 'podnet', containerId: 'one', ifname: 'eth0' }

/** A container that has only the host as neighbour, so that what it sends to its own subnet is routed too. */
function attachRouted(host: Host, number: number): NetworkNamespace {
  const container = host.createContainer()
  const { ipv4, ipv6 } = addresses(number)
  host.ip(`
link add routed${number} type veth peer name eth0 netns ${container.name}
addr add 10.200.0.1/32 dev routed${number}
addr add fe80::1/64 dev routed${number} nodad
link set routed${number} up
route add ${ipv4}/32 dev routed${number}
route add ${ipv6}/128 dev routed${number}`)
  container.ip(`
link set lo up
addr add ${ipv4}/32 dev eth0
addr add ${ipv6}/128 dev eth0 nodad
link set eth0 up
route add 10.200.0.1/32 dev eth0
route add default via 10.200.0.1
route add ::/0 via fe80::1 dev eth0`)
  return container
}

async function withRouting(host: Host): Promise<{ outside: NetworkNamespace; one: NetworkNamespace }> {
  const outside = createOutside(host)
  host.allowForwarding()
  const [one, two] = [attachRouted(host, 5), attachRouted(host, 6)]
  await startPeer(host, outside)
  await startPeer(host, two)
  return { outside, one }
}

/** Sends until the listener says something new: which source it saw. A link that has just come up drops multicast. */
async function sourceSeen(host: Host, listener: Child, argv: string[]): Promise<string | undefined> {
  const before = listener.said
  for (let attempt = 0; attempt < 20 && listener.said === before; attempt++) {
    host.output([process.execPath, datagram, 'send', ...argv])
    await setTimeout(200)
  }
  return /from (\S+)/.exec(listener.said.slice(before.length))?.[1]
}

for (const backend of ['nftables', 'iptables'] as const satisfies MasqueradeBackend[]) {
  t.test(`${backend}: what goes outside is masqueraded, what stays in the subnet is not`, t =>
    withHost(t, async host => {
      const { one } = await withRouting(host)
      t.equal(ask(one, 'udp', world.ipv4), undefined, 'without masquerade no answer finds its way back')
      inside(host, () => addMasquerade(backend, attachment, prefixes(5)))
      for (const transport of ['udp', 'tcp'] as const) {
        t.equal(ask(one, transport, world.ipv4), `${own.ipv4} hello`, `${transport} over IPv4`)
        t.equal(ask(one, transport, world.ipv6), `${own.ipv6} hello`, `${transport} over IPv6`)
        t.equal(ask(one, transport, addresses(6).ipv4), `${addresses(5).ipv4} hello`, `${transport} in the IPv4 subnet`)
        t.equal(ask(one, transport, addresses(6).ipv6), `${addresses(5).ipv6} hello`, `${transport} in the IPv6 subnet`)
      }
      t.ok(one.pings(world.ipv4), 'ping over IPv4')
      t.ok(one.pings(world.ipv6), 'ping over IPv6')
      inside(host, () => deleteMasquerade(attachment, { addresses: prefixes(5) }).close())
      t.equal(ask(one, 'tcp', world.ipv4), undefined, 'after DEL no new connection is masqueraded')
    }),
  )

  t.test(`${backend}: multicast keeps its source`, t =>
    withHost(t, async host => {
      const { outside } = await withRouting(host)
      // The host itself sends with the container's address: a packet like those that a multicast router forwards.
      const { ipv4, ipv6 } = addresses(5)
      host.ip(`
route del ${ipv4}/32
route del ${ipv6}/128
addr add ${ipv4}/32 dev uplink
addr add ${ipv6}/128 dev uplink nodad`)
      // IPv6 drops what comes from where it knows no way.
      outside.ip('route add fd00:1::/64 dev world')
      inside(host, () => addMasquerade(backend, attachment, prefixes(5)))
      const groups = [
        { source: ipv4, group: '239.1.1.1', far: world.ipv4, near: own.ipv4, listen: world.ipv4, send: own.ipv4 },
        { source: ipv6, group: 'ff0e::4242', far: world.ipv6, near: own.ipv6, listen: '::%world', send: '::%uplink' },
      ]
      for (const { source, group, far, near, listen, send } of groups) {
        const child = host.start([process.execPath, datagram, 'listen', group, '7000', listen], { inside: outside })
        await child.says(/listening/)
        t.equal(await sourceSeen(host, child, [source, group, '7000', send]), source, group)
        t.equal(
          await sourceSeen(host, child, [source, far, '7000', send]),
          near,
          `to one host it is masqueraded: ${far}`,
        )
        await child.stop()
      }
    }),
  )
}
