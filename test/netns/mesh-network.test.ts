/** Inside the networks: isolation of the ingress network, virtual addresses, and replicas that leave. */

import t from 'tap'
import { formatAddress } from '../../lib/address/address.ts'
import { networkTable } from '../../lib/overlay/mesh/network-table.ts'
import { outsideAddresses, withHost } from '../harness/index.ts'
import {
  answers,
  buildMesh,
  ENOUGH,
  isolate,
  isSilent,
  keep,
  pair,
  peer,
  publish,
  service,
  told,
} from './mesh-fixture.ts'
import { address as ip } from './netlink-fixture.ts'

const { host: own } = outsideAddresses
const transports = ['tcp', 'udp'] as const
const both = ['replica11', 'replica12']

t.test('a replica that leaves gets no new connections, and keeps those it has', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const talks = Array.from({ length: 6 }, () =>
      host.start(peer('talk', 'tcp', own.ipv4, 8080), { inside: mesh.outside }),
    )
    for (const talk of talks) await talk.says(/1 replica/)
    const [, second] = pair(mesh)
    publish(mesh, [service()], [second])
    // The first one drains: over the ingress network it is still to be reached.
    isolate(mesh, [service()], mesh.replicas)
    t.same(told(answers(mesh.outside, 'tcp', own.ipv4, 8080, { count: ENOUGH })).replicas, ['replica12'])
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
    const [one, two] = pair(mesh)
    const at = two.addresses.map(formatAddress)
    for (const address of at) t.match(answers(one.namespace, 'tcp', address, 80), [/^replica12/], 'open before')
    publish(mesh, [service({ ports: [{ published: 8080, target: 80, protocol: 'tcp', mode: 'mesh' }] })])
    for (const address of at) {
      t.ok(isSilent(one.namespace, 'tcp', address, 80), `replica to replica, ${address}`)
      t.ok(isSilent(one.namespace, 'udp', address, 80))
      t.notOk(one.namespace.pings(address, 1), 'no ping')
      t.match(answers(mesh.ingress, 'tcp', address, 80), [/^replica12/], 'the load balancer to the target')
      t.ok(isSilent(mesh.ingress, 'tcp', address, 81), 'and to no other port')
      t.ok(isSilent(mesh.ingress, 'udp', address, 80), 'and with no other protocol')
      t.ok(mesh.ingress.pings(address), 'errors and pings of the load balancer pass')
    }
    // A replica that takes a load balancer's address on.
    one.namespace.ip('addr add 10.255.0.2/32 dev eth0')
    t.ok(isSilent(one.namespace, 'tcp', at[0] ?? '', 80, '10.255.0.2'), 'a forged source')
    t.same(answers(one.namespace, 'tcp', '10.255.0.2', 80).length, 1)
    one.namespace.ip('addr del 10.255.0.2/32 dev eth0')
    // Through the load balancer out of the network.
    one.namespace.ip('route add 198.51.100.0/24 via 10.255.0.2')
    t.notOk(one.namespace.pings(outsideAddresses.outside.ipv4, 1), 'the load balancer is no router')
  }),
)

t.test('a virtual address inside the network leads to replicas, on any port', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    const virtual = ['10.255.0.100', 'fd00:255::100']
    const own = ['10.255.0.3', 'fd00:255::3']
    mesh.overlay.allowForwarding()
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
            const { replicas, clients } = told(answers(namespace, transport, address, port, { count: ENOUGH }))
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
