/** overlayd/services: what a host is to do for services, and what publishing adds to etcd. */

import t from 'tap'
import { formatAddress } from '../../../lib/address/address.ts'
import type { ServiceMembership } from '../../../lib/overlay/agent-protocol.ts'
import { LOAD_BALANCER } from '../../../lib/overlay/names.ts'
import type { Entry, Store, View } from '../../../overlayd/etcd/store.ts'
import { publishServices, withdrawServices } from '../../../overlayd/services/publishing.ts'
import type { ReplicaRecord } from '../../../overlayd/services/records.ts'
import { readMeshSettings } from '../../../overlayd/services/settings.ts'
import { wantedServices } from '../../../overlayd/services/wanted.ts'

const web: ServiceMembership = {
  name: 'web',
  affinity: 'none',
  ports: [{ published: 8080, target: 80, protocol: 'tcp', mode: 'mesh' }],
}
const record = (number: number, node: string, options: Partial<ReplicaRecord> = {}): ReplicaRecord => ({
  network: 'ingress',
  containerId: `c${number}`,
  ifname: 'eth0',
  node,
  addresses: [`10.255.0.${number}`],
  gatewayAddresses: [`172.18.0.${number}`],
  services: [web],
  draining: false,
  ...options,
})
const wanted = (replicas: ReplicaRecord[], alive: string[]) =>
  wantedServices({ node: 'one', replicas, alive: new Set(alive), ingressNetwork: 'ingress', loadBalancers: [] })
const targets = ({ ports }: { ports: ReturnType<typeof wanted>['ports'] }): string[] =>
  ports.flatMap(({ targets }) => targets.map(({ address }) => formatAddress(address))).sort()

t.test('replicas of nodes that are away get nothing new while there are others, and stay reachable', async t => {
  const replicas = [record(1, 'one'), record(2, 'two')]
  t.same(targets(wanted(replicas, ['one', 'two'])), ['10.255.0.1', '10.255.0.2'])
  const some = wanted(replicas, ['one'])
  t.same(targets(some), ['10.255.0.1'])
  t.same(targets({ ports: some.reachable }), ['10.255.0.1', '10.255.0.2'])
  t.same(targets(wanted(replicas, [])), ['10.255.0.1', '10.255.0.2'], 'all agents away: the containers may be there')
})

t.test('a replica that drains gets nothing new, and stays reachable', async t => {
  const state = wanted([record(1, 'one', { draining: true }), record(2, 'two')], ['one', 'two'])
  t.same(targets(state), ['10.255.0.2'])
  t.same(targets({ ports: state.reachable }), ['10.255.0.1', '10.255.0.2'])
})

t.test('virtual addresses lead to replicas of their family, of their network', async t => {
  const service = (virtualAddress: string): ServiceMembership => ({ ...web, ports: [], virtualAddress })
  const { virtual } = wanted(
    [
      record(1, 'one', { network: 'a', addresses: ['10.0.0.1', 'fd00::1'], services: [service('10.0.0.100')] }),
      record(2, 'two', { network: 'a', addresses: ['10.0.0.2', 'fd00::2'], services: [service('10.0.0.100')] }),
      record(3, 'two', { network: 'b', addresses: ['10.0.0.3'], services: [service('10.0.0.100')] }),
    ],
    ['one', 'two'],
  )
  const leads = (network: string) => virtual.get(network)?.map(({ replicas }) => replicas.map(formatAddress))
  t.same(leads('a'), [['10.0.0.1', '10.0.0.2']])
  t.same(leads('b'), [['10.0.0.3']])
  const draining = record(1, 'one', { addresses: ['10.0.0.1'], services: [service('10.0.0.100')], draining: true })
  t.match(wanted([draining], ['one']).virtual.get('ingress'), [{ replicas: [], kept: [{ length: 4 }] }])
})

/** Only what publishing asks of them. */
function cluster(entries: ReplicaRecord[], guardRevision?: number, reaches = true) {
  const key = (value: ReplicaRecord) => `services/${value.network}/${value.node}/${value.containerId}/${value.ifname}`
  const replicas = {
    entries: new Map(entries.map(value => [key(value), { key: key(value), value } as Entry<ReplicaRecord>])),
    reaches: async () => reaches,
  } as unknown as View<ReplicaRecord>
  const get = async (asked: string) =>
    guardRevision === undefined ? undefined : { key: asked, revision: guardRevision }
  return { node: 'one', store: { get } as unknown as Store, replicas, ingressNetwork: 'ingress' }
}
const request = (options: Record<string, unknown> = {}) => ({
  network: 'ingress',
  containerId: 'c1',
  ifname: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: ['10.255.0.1/16'],
  services: [web],
  gatewayAddresses: ['172.18.0.1'],
  ...options,
})

t.test('publishing writes the replica, and changes the guards of its ports if nobody else has', async t => {
  t.same(await publishServices(cluster([]), request()), {
    conditions: [{ key: 'published/tcp/7', revision: 0 }],
    operations: [
      { put: 'published/tcp/7', value: { node: 'one' } },
      { put: 'services/ingress/one/c1/eth0', value: { ...record(1, 'one') } },
    ],
  })
  t.match(await publishServices(cluster([], 42), request()), { conditions: [{ key: 'published/tcp/7', revision: 42 }] })
  t.same(await publishServices(cluster([]), request({ services: [] })), {})
  const everything = { ...web, ports: [{ ...web.ports[0], published: '1-65535' }] }
  t.equal((await publishServices(cluster([]), request({ services: [everything] }))).operations?.length, 65)
})

t.test('publishing is refused where it cannot be', async t => {
  await t.rejects(publishServices(cluster([]), request({ network: 'db' })), {
    code: 7,
    message: /service "web" publishes port 8080\/tcp in the mesh, but its network is "db"/,
    details: /network "ingress"/,
  })
  const local = { ...web, ports: [{ ...web.ports[0], mode: 'local' }] }
  await t.rejects(publishServices(cluster([]), request({ services: [local], gatewayAddresses: [] })), {
    code: 7,
    message: /no interface on the gateway bridge/,
  })
  const api = { ...web, name: 'api' }
  await t.rejects(publishServices(cluster([record(2, 'two', { services: [api] })], 5), request()), {
    code: 104,
    message: /service "web" cannot publish port 8080\/tcp: service "api" has published it/,
  })
  await publishServices(cluster([record(1, 'one', { services: [api] })], 5), request())
  await t.rejects(publishServices(cluster([], 5, false), request()), { code: 11 }, 'the watch is behind')
})

t.test('withdrawing deletes the replica, of whichever node', async t => {
  const attachment = { ...request(), node: 'two', host: '192.0.2.2', services: [] }
  t.same(withdrawServices(attachment), { operations: [{ delete: 'services/ingress/two/c1/eth0' }] })
  t.same(withdrawServices({ ...attachment, containerId: LOAD_BALANCER }), {
    operations: [{ delete: 'load-balancers/ingress/two' }],
  })
  t.same(await publishServices(cluster([]), request({ containerId: LOAD_BALANCER, services: [] })), {
    operations: [{ put: 'load-balancers/ingress/one', value: { node: 'one', addresses: ['10.255.0.1/16'] } }],
  })
})

t.test('settings: defaults, and subnets that are none', async t => {
  t.match(readMeshSettings({}), {
    network: 'ingress',
    gatewayBridge: 'docker_gwbridge',
    subnets: [{ length: 16 }, { length: 64 }],
  })
  t.equal(readMeshSettings({ ipv6Subnet: '' }).subnets.length, 1)
  for (const wrong of [{ subnet: '10.255.0.0' }, { subnet: '', ipv6Subnet: '' }, { ipv6Subnet: 'none' }])
    t.throws(() => readMeshSettings(wrong), { code: 7, message: /mesh.subnet/ })
})
