/** Published ports: what is read, refused, and put together from the replicas of a cluster. */

import t from 'tap'
import { formatAddress, parseAddress } from '../../../lib/address/address.ts'
import type { ServiceMembership, ServicePort } from '../../../lib/overlay/agent-protocol.ts'
import { checkServices, parsePortRange, portPairs } from '../../../lib/overlay/mesh/ports.ts'
import { publishedPorts, type Replica, refuseTakenPorts } from '../../../lib/overlay/mesh/published-port.ts'

const port = (options: Partial<ServicePort> = {}): ServicePort => ({
  published: 8080,
  target: 80,
  protocol: 'tcp',
  mode: 'mesh',
  ...options,
})
const service = (name: string, ...ports: ServicePort[]): ServiceMembership => ({ name, affinity: 'none', ports })
const ip = (text: string) => parseAddress(text) ?? new Uint8Array(new ArrayBuffer(4))
const replica = (number: number, services: ServiceMembership[], options: Partial<Replica> = {}): Replica => ({
  addresses: [ip(`10.255.0.${number}`)],
  services,
  ...options,
})

t.test('ports and ranges', async t => {
  t.same(parsePortRange(80), { first: 80, last: 80 })
  t.same(parsePortRange('80'), { first: 80, last: 80 })
  t.same(parsePortRange('8000-8010'), { first: 8000, last: 8010 })
  t.same(parsePortRange('1-65535'), { first: 1, last: 65535 })
  for (const wrong of [
    0,
    65536,
    1.5,
    -1,
    '',
    '0',
    '65536',
    '080',
    '80-',
    '-80',
    '90-80',
    '1-2-3',
    ' 80',
    '80/tcp',
    '0x50',
  ])
    t.equal(parsePortRange(wrong), undefined, JSON.stringify(wrong))
})

t.test('a range leads to as many targets, or to one', async t => {
  t.same(portPairs(port({ published: '8000-8002', target: '80-82' })), [
    { published: 8000, target: 80 },
    { published: 8001, target: 81 },
    { published: 8002, target: 82 },
  ])
  t.same(portPairs(port({ published: '8000-8001', target: 80 })), [
    { published: 8000, target: 80 },
    { published: 8001, target: 80 },
  ])
})

t.test('what cannot be published is refused with the service and the value', async t => {
  const cases: [ServiceMembership[], RegExp][] = [
    [[service('web', port({ published: 0 }))], /service "web" has the published port 0/],
    [[service('web', port({ target: '99999' }))], /service "web" has the target port "99999"/],
    [[service('web', port({ published: '8000-8010', target: '80-81' }))], /publishes 11 ports .* for 2 targets/],
    [[service('web', port({ hostAddresses: ['eth0'] }))], /publishes 8080\/tcp on "eth0"/],
    [[service('web', port(), port())], /publishes port 8080\/tcp, and so does "web"/],
    [
      [service('web', port()), service('api', port({ published: '8000-9000' }))],
      /"api" publishes port 8080\/tcp, and so/,
    ],
    [[service('web'), service('web')], /service "web" is named twice/],
    [[{ ...service('web'), virtualAddress: '10.0.0.300' }], /virtual address "10.0.0.300"/],
  ]
  for (const [services, message] of cases) t.throws(() => checkServices(services), { code: 7, message, details: /./ })
  checkServices([service('web', port(), port({ protocol: 'udp' })), service('api', port({ published: 8081 }))])
})

t.test('a port has the targets of all replicas that take connections', async t => {
  const web = service('web', port({ hostAddresses: ['192.0.2.1'] }))
  const { ports, conflicts } = publishedPorts([
    replica(2, [web]),
    replica(1, [web]),
    replica(3, [web], { draining: true }),
  ])
  t.same(conflicts, [])
  t.match(ports, [{ service: 'web', protocol: 6, port: 8080, mode: 'mesh', affinity: 'none' }])
  t.same(
    ports[0]?.targets.map(({ address, port }) => `${formatAddress(address)}:${port}`),
    ['10.255.0.1:80', '10.255.0.2:80'],
  )
  t.same(ports[0]?.hostAddresses, [ip('192.0.2.1')])
})

t.test('replicas of one service may listen on different ports, as during an update', async t => {
  const { ports } = publishedPorts([
    replica(1, [service('web', port({ target: 80 }))]),
    replica(2, [service('web', port({ target: 8000 }))]),
  ])
  t.same(ports[0]?.targets.map(({ port }) => port).sort(), [80, 8000])
})

t.test('mode local leads to replicas of this host, on the gateway bridge', async t => {
  const local = service('dns', port({ published: 53, target: 53, protocol: 'udp', mode: 'local' }))
  const { ports } = publishedPorts([replica(1, [local], { localAddresses: [ip('172.18.0.5')] }), replica(2, [local])])
  t.same(ports[0]?.targets, [{ address: ip('172.18.0.5'), port: 53 }])
})

t.test('of two services that claim a port all hosts choose the same one, and tell', async t => {
  const replicas = [replica(1, [service('web', port())]), replica(2, [service('api', port())])]
  for (const known of [replicas, replicas.toReversed()]) {
    const { ports, conflicts } = publishedPorts(known)
    t.same(
      ports.map(({ service, targets }) => [service, targets.length]),
      [['api', 1]],
    )
    t.same(conflicts, [{ port: '8080/tcp', owner: 'api', other: 'web' }])
  }
})

t.test('a port that another service has is refused, one of the same service is not', async t => {
  const others = [service('web', port({ published: '8000-8100', target: 80 }))]
  t.throws(() => refuseTakenPorts([service('api', port())], others), {
    code: 104,
    message: 'service "api" cannot publish port 8080/tcp: service "web" has published it',
    details: /one service/,
  })
  refuseTakenPorts([service('web', port())], others)
  refuseTakenPorts([service('api', port({ protocol: 'udp' }), port({ published: 7999 }))], others)
})
