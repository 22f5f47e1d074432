/** What becomes of packets to published ports of mode mesh, on a host built by hand. */

import t from 'tap'
import { familyOf } from '../../lib/address/address.ts'
import { outsideAddresses, withHost } from '../harness/index.ts'
import { answers, buildMesh, ENOUGH, pair, peer, publish, service, told } from './mesh-fixture.ts'
import { address as ip } from './netlink-fixture.ts'

const { host: own } = outsideAddresses
const transports = ['tcp', 'udp'] as const
const gatewayAddress = { 4: '172.18.0.1', 6: 'fd00:18::1' } as const
const balancerAddress = { 4: '10.255.0.2', 6: 'fd00:255::2' } as const
const both = ['replica11', 'replica12']

t.test('a published port: from outside, from the host, from localhost, from a container on the host', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    publish(mesh, [service()])
    const [first] = pair(mesh)
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
        const { replicas, clients } = told(answers(namespace, transport, address, 8080, { count: ENOUGH }))
        const name = `from ${from} to ${address} over ${transport}`
        t.same(replicas, both, `${name}: both replicas answer`)
        t.same(clients, [balancerAddress[familyOf(ip(address))]], 'on behalf of the load balancer')
      }
    }
    t.same(answers(mesh.outside, 'tcp', own.ipv4, 8081), ['refused'], 'a port that is not published')
    t.same(answers(mesh.outside, 'tcp', own.ipv4, 80), ['refused'], 'the target port')
    for (const transport of transports)
      t.same(answers(host, transport, '::1', 8080), ['refused'], 'clients go on to 127.0.0.1 at once')
  }),
)

t.test('port ranges lead to one target or to a range of targets', t =>
  withHost(t, async host => {
    const mesh = await buildMesh(host)
    // What does not listen refuses: only replica11 has port 83.
    const [first] = pair(mesh)
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
