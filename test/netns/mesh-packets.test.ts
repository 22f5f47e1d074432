/** What becomes of packets to published ports, with the tables of lib/overlay/mesh on a host built by hand. */

import t from 'tap'
import { familyOf, formatAddress } from '../../lib/address/address.ts'
import type { ServiceMembership } from '../../lib/overlay/agent-protocol.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { ingressIsolation } from '../../lib/overlay/mesh/isolation-table.ts'
import { networkTable } from '../../lib/overlay/mesh/network-table.ts'
import { publishedPorts } from '../../lib/overlay/mesh/published-port.ts'
import { outsideAddresses, withHost } from '../harness/index.ts'
import {
  answers,
  balancer,
  balancerAddresses,
  buildMesh,
  ingressAddresses,
  ip,
  keep,
  type Mesh,
  type MeshReplica,
  peer,
  service,
} from './mesh-fixture.ts'

const { host: own } = outsideAddresses
const transports = ['tcp', 'udp'] as const
const gatewayAddress = { 4: '172.18.0.1', 6: 'fd00:18::1' } as const
const balancerAddress = { 4: '10.255.0.2', 6: 'fd00:255::2' } as const

/** Publishes the services of these replicas in every table. */
function publish(mesh: Mesh, services: readonly ServiceMembership[], replicas: readonly MeshReplica[] = mesh.replicas) {
  const { ports } = publishedPorts(replicas.map(replica => ({ ...replica, services })))
  keep(mesh.host, hostTable({ gateway: 'docker_gwbridge', ingress: ingressAddresses, ports }))
  keep(mesh.ingress, ingressTable({ ...balancer, ports }))
  const trusted = ['vxlan0', 'port2']
  keep(mesh.overlay, ingressIsolation({ trusted, loadBalancers: balancerAddresses, ports }))
}

/** Which replicas answered, and what they saw as the client's address. */
function told(lines: readonly string[]): { replicas: string[]; clients: string[] } {
  const words = lines.map(line => line.split(' '))
  const distinct = (index: number) => [...new Set(words.map(line => line[index] ?? ''))].sort()
  return { replicas: distinct(0), clients: distinct(1) }
}

const both = ['replica11', 'replica12']

t.test('a published port: from outside, from the host, from localhost, from a container on the host', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const [first] = mesh.replicas
    if (first === undefined) throw new Error('no replica')
    const cases = [
      ['outside', mesh.outside, own.ipv4],
      ['outside', mesh.outside, own.ipv6],
      ['the host', host, own.ipv4],
      ['the host', host, own.ipv6],
      ['localhost', host, '127.0.0.1'],
      ['localhost', host, '127.1.2.3'],
      ['a container', first.namespace, own.ipv4],
      ['a container', first.namespace, own.ipv6],
      ['a container, to its gateway', first.namespace, gatewayAddress[4]],
    ] as const
    for (const [from, namespace, address] of cases) {
      for (const transport of transports) {
        const { replicas, clients } = told(answers(namespace, transport, address, 8080, { count: 12 }))
        const name = `from ${from} to ${address} over ${transport}`
        t.same(replicas, both, `${name}: both replicas answer`)
        t.same(clients, [balancerAddress[familyOf(ip(address))]], 'on behalf of the load balancer')
      }
    }
    t.same(answers(mesh.outside, 'tcp', own.ipv4, 8081), ['refused'], 'a port that is not published')
    t.same(answers(mesh.outside, 'tcp', own.ipv4, 80), ['refused'], 'the target port')
  }),
)

t.test('local mode keeps the address of the client', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service({ mode: 'local' })])
    const { outside } = outsideAddresses
    for (const transport of transports) {
      for (const [address, client] of [
        [own.ipv4, outside.ipv4],
        [own.ipv6, outside.ipv6],
      ] as const) {
        const { replicas, clients } = told(answers(mesh.outside, transport, address, 8080, { count: 12 }))
        t.same([replicas, clients], [both, [client]], `${transport} ${address}`)
      }
      const fromHost = told(answers(host, transport, '127.0.0.1', 8080, { count: 12 }))
      t.same([fromHost.replicas, fromHost.clients], [both, [gatewayAddress[4]]], 'localhost comes from the gateway')
      const [first] = mesh.replicas
      if (first === undefined) continue
      const fromReplica = told(answers(first.namespace, transport, own.ipv4, 8080, { count: 12 }))
      t.same(fromReplica.replicas, both, 'a replica reaches the other and itself')
    }
    publish(mesh, [service({ mode: 'local' })], [])
    t.same(answers(mesh.outside, 'tcp', own.ipv4, 8080), ['refused'], 'no replica on this host')
  }),
)

t.test('host addresses: published there and nowhere else', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    host.ip('addr add 198.51.100.7/32 dev uplink\naddr add 2001:db8:51::7/128 dev uplink nodad')
    const hostAddresses = ['198.51.100.7', '2001:db8:51::7']
    for (const mode of ['mesh', 'local'] as const) {
      const ports = transports.map(protocol => ({ published: 8080, target: 80, protocol, mode, hostAddresses }))
      publish(mesh, [service({ ports })])
      for (const transport of transports) {
        for (const address of hostAddresses) {
          t.same(
            told(answers(mesh.outside, transport, address, 8080, { count: 12 })).replicas,
            both,
            `${mode} ${address}`,
          )
        }
        for (const address of [own.ipv4, own.ipv6]) {
          t.same(answers(mesh.outside, transport, address, 8080), ['refused'], `${mode}: not on ${address}`)
        }
        t.same(answers(host, transport, '127.0.0.1', 8080), ['refused'], `${mode}: not on localhost`)
      }
    }
  }),
)

t.test('port ranges lead to one target or to a range of targets', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    // What does not listen refuses: only replica11 has port 83.
    const [first] = mesh.replicas
    if (first === undefined) throw new Error('no replica')
    host.start(peer('serve', 'other', 83), { inside: first.namespace })
    publish(
      mesh,
      [
        service({ name: 'one', ports: [{ published: '8000-8010', target: 80, protocol: 'tcp', mode: 'mesh' }] }),
        service({ name: 'many', ports: [{ published: '9000-9003', target: '80-83', protocol: 'tcp', mode: 'local' }] }),
      ],
      [first],
    )
    for (const port of [8000, 8005, 8010])
      t.match(answers(mesh.outside, 'tcp', own.ipv4, port), [/^replica11 /], `${port}`)
    for (const port of [7999, 8011]) t.same(answers(mesh.outside, 'tcp', own.ipv4, port), ['refused'], `${port}`)
    for (const port of [9000, 9002]) t.match(answers(mesh.outside, 'tcp', own.ipv4, port), [/^replica11 /], `${port}`)
    t.match(answers(mesh.outside, 'tcp', own.ipv4, 9003), [/^other /], 'the last of the range')
  }),
)

t.test('affinity: a client has the same replica on every port of the service, clients are spread', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    const ports = transports.flatMap(protocol =>
      [8080, 8081].map(published => ({ published, target: published - 8000, protocol, mode: 'mesh' as const })),
    )
    publish(mesh, [service({ affinity: 'client', ports })])
    const sources = Array.from({ length: 8 }, (_, index) => `198.51.100.${20 + index}`)
    mesh.outside.ip(sources.map(source => `addr add ${source}/24 dev world`).join('\n'))
    const chosen = sources.map(source => {
      const replicas = [
        ...answers(mesh.outside, 'tcp', own.ipv4, 8080, { count: 4, source }),
        ...answers(mesh.outside, 'udp', own.ipv4, 8080, { count: 2, source }),
        ...answers(mesh.outside, 'tcp', own.ipv4, 8081, { count: 2, source }),
      ].map(line => line.split(' ')[0])
      t.equal(new Set(replicas).size, 1, `${source}: ${replicas[0]}`)
      return replicas[0] ?? ''
    })
    t.same([...new Set(chosen)].sort(), both, 'not all clients have the same one')
  }),
)

t.test('a replica that leaves gets no new connections, and keeps those it has', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const talks = Array.from({ length: 6 }, () =>
      host.start(peer('talk', 'tcp', own.ipv4, 8080), { inside: mesh.outside }),
    )
    for (const talk of talks) await talk.says(/1 replica/)
    const [, second] = mesh.replicas
    if (second === undefined) throw new Error('no replica')
    publish(mesh, [service()], [second])
    // The first one drains: what may reach it over the ingress network is as it was.
    const { ports } = publishedPorts(mesh.replicas.map(replica => ({ ...replica, services: [service()] })))
    keep(mesh.overlay, ingressIsolation({ trusted: ['vxlan0', 'port2'], loadBalancers: balancerAddresses, ports }))
    t.same(told(answers(mesh.outside, 'tcp', own.ipv4, 8080, { count: 12 })).replicas, ['replica12'])
    for (const talk of talks) {
      talk.signal('SIGUSR1')
      await talk.says(/2 replica/)
      const [before, after] = talk.said.trim().split('\n')
      t.equal(after?.slice(2), before?.slice(2), 'the same replica answers again')
    }
    t.ok(
      talks.some(talk => talk.said.includes('replica11')),
      'one of them talks to the replica that left',
    )
  }),
)

t.test('isolation: over the ingress network only load balancers reach replicas, on published targets', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    const [one, two] = mesh.replicas
    if (one === undefined || two === undefined) throw new Error('no replicas')
    const at = two.addresses.map(formatAddress)
    for (const address of at) t.match(answers(one.namespace, 'tcp', address, 80), [/^replica12/], 'open before')
    publish(mesh, [service({ ports: [{ published: 8080, target: 80, protocol: 'tcp', mode: 'mesh' }] })])
    for (const address of at) {
      t.same(answers(one.namespace, 'tcp', address, 80), ['silence'], `replica to replica, ${address}`)
      t.same(answers(one.namespace, 'udp', address, 80), ['silence'])
      t.notOk(one.namespace.pings(address, 1), 'no ping')
      t.match(answers(mesh.ingress, 'tcp', address, 80), [/^replica12/], 'the load balancer to the target')
      t.same(answers(mesh.ingress, 'tcp', address, 81), ['silence'], 'and to no other port')
      t.same(answers(mesh.ingress, 'udp', address, 80), ['silence'], 'and with no other protocol')
      t.ok(mesh.ingress.pings(address), 'errors and pings of the load balancer pass')
    }
    // A replica that takes a load balancer's address on.
    one.namespace.ip('addr add 10.255.0.2/32 dev eth0')
    t.same(answers(one.namespace, 'tcp', at[0] ?? '', 80, { source: '10.255.0.2' }), ['silence'], 'a forged source')
    t.same(answers(one.namespace, 'tcp', '10.255.0.2', 80).length, 1)
    one.namespace.ip('addr del 10.255.0.2/32 dev eth0')
    // Through the load balancer out of the network.
    one.namespace.ip('route add 198.51.100.0/24 via 10.255.0.2')
    t.notOk(one.namespace.pings(outsideAddresses.outside.ipv4, 1), 'the load balancer is no router')
  }),
)

t.test("what containers send to the host's 127.0.0.1 does not arrive", t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    host.start(peer('serve', 'host', 7000))
    const [one] = mesh.replicas
    if (one === undefined) throw new Error('no replica')
    one.namespace.output(['sysctl', '-qw', 'net.ipv4.conf.eth1.route_localnet=1'])
    one.namespace.ip('addr del 127.0.0.1/8 dev lo\nroute add 127.0.0.2 via 172.18.0.1 dev eth1')
    t.same(answers(one.namespace, 'tcp', '127.0.0.2', 7000), ['silence'])
    host.output(['nft', 'flush', 'chain', 'inet', 'cnikit-mesh', 'loopback-guard'])
    t.match(answers(one.namespace, 'tcp', '127.0.0.2', 7000), [/^host/], 'without the guard it does')
  }),
)

t.test('a virtual address inside the network leads to replicas, on any port', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    const virtual = ['10.255.0.100', 'fd00:255::100']
    const own = ['10.255.0.3', 'fd00:255::3']
    mesh.overlay.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    mesh.overlay.output(['sysctl', '-qw', 'net.ipv4.conf.all.send_redirects=0', 'net.ipv4.conf.br0.send_redirects=0'])
    mesh.overlay.ip(`
addr add ${own[0]}/16 dev br0
addr add ${own[1]}/64 dev br0 nodad
addr add ${virtual[0]}/32 dev br0
addr add ${virtual[1]}/128 dev br0 nodad`)
    keep(
      mesh.overlay,
      networkTable({
        bridge: 'br0',
        addresses: own.map(ip),
        services: virtual.map((address, index) => ({
          name: 'web',
          affinity: 'none',
          virtualAddress: ip(address),
          replicas: mesh.replicas.flatMap(({ addresses }) => addresses.slice(index, index + 1)),
        })),
      }),
    )
    for (const { namespace, name } of mesh.replicas) {
      for (const [index, address] of virtual.entries()) {
        for (const transport of transports) {
          for (const port of [80, 81]) {
            const { replicas, clients } = told(answers(namespace, transport, address, port, { count: 12 }))
            t.same([replicas, clients], [both, [own[index]]], `${name} over ${transport} to ${address} port ${port}`)
          }
        }
        t.ok(namespace.pings(address), 'it answers pings')
      }
    }
    const [one, two] = mesh.replicas
    t.match(answers(one?.namespace ?? host, 'tcp', formatAddress(two?.addresses[0] ?? ip('0.0.0.0')), 80), [
      /^replica12/,
    ])
  }),
)
