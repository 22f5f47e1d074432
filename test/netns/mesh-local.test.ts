/** What becomes of packets to published ports of mode local, and to those of some host addresses alone. */

import t from 'tap'
import { outsideAddresses, withHost } from '../harness/index.ts'
import { answers, buildMesh, ENOUGH, isSilent, pair, peer, publish, service, told } from './mesh-fixture.ts'

const { host: own } = outsideAddresses
const transports = ['tcp', 'udp'] as const
const gatewayAddress = { 4: '172.18.0.1', 6: 'fd00:18::1' } as const
const both = ['replica11', 'replica12']

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
        const { replicas, clients } = told(answers(mesh.outside, transport, address, 8080, { count: ENOUGH }))
        t.same([replicas, clients], [both, [client]], `${transport} ${address}`)
      }
      const fromHost = told(answers(host, transport, '127.0.0.1', 8080, { count: ENOUGH }))
      t.same([fromHost.replicas, fromHost.clients], [both, [gatewayAddress[4]]], 'localhost comes from the gateway')
      const [first] = pair(mesh)
      const fromReplica = told(answers(first.namespace, transport, own.ipv4, 8080, { count: ENOUGH }))
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
            told(answers(mesh.outside, transport, address, 8080, { count: ENOUGH })).replicas,
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

t.test("what containers send to the host's 127.0.0.1 does not arrive", t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    host.start(peer('serve', 'host', 7000))
    const [one] = pair(mesh)
    one.namespace.output(['sysctl', '-qw', 'net.ipv4.conf.eth1.route_localnet=1'])
    one.namespace.ip('addr del 127.0.0.1/8 dev lo\nroute add 127.0.0.2 via 172.18.0.1 dev eth1')
    t.ok(isSilent(one.namespace, 'tcp', '127.0.0.2', 7000))
    host.output(['nft', 'flush', 'chain', 'inet', 'cnikit-mesh', 'loopback-guard'])
    t.match(answers(one.namespace, 'tcp', '127.0.0.2', 7000), [/^host/], 'without the guard it does')
  }),
)
