/** The tables of lib/overlay/mesh against the kernel: what nft shows of them, and that they are kept as declared. */

import t from 'tap'
import { removeTable } from '../../lib/firewall/nftables/declared-table.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { ingressIsolation, isolationTable } from '../../lib/overlay/mesh/isolation-table.ts'
import { virtualNeighbours } from '../../lib/overlay/mesh/neighbour-table.ts'
import { networkTable } from '../../lib/overlay/mesh/network-table.ts'
import { publishedPorts, type Replica } from '../../lib/overlay/mesh/published-port.ts'
import { meshTable } from '../../lib/overlay/mesh/rules.ts'
import { withHost } from '../harness/index.ts'
import { countingMessages, matchesGolden, ruleset, withNetfilter } from './firewall-fixture.ts'
import { balancer, balancerAddresses, ingressAddresses, keep, service } from './mesh-fixture.ts'
import { address as ip } from './netlink-fixture.ts'

const replicas: Replica[] = [11, 12].map(number => ({
  addresses: [ip(`10.255.0.${number}`), ip(`fd00:255::${number}`)],
  localAddresses: [ip(`172.18.0.${number}`), ip(`fd00:18::${number}`)],
  services: [
    service(),
    service({
      name: 'media',
      affinity: 'client',
      ports: [
        { published: '9000-9002', target: '80-82', protocol: 'sctp', mode: 'mesh', hostAddresses: ['192.0.2.1'] },
      ],
    }),
    service({
      name: 'dns',
      ports: [
        { published: 53, target: 53, protocol: 'udp', mode: 'local', hostAddresses: ['192.0.2.1', '2001:db8:2::1'] },
        { published: 54, target: 53, protocol: 'udp', mode: 'local' },
      ],
    }),
  ],
}))
const { ports } = publishedPorts(replicas)
const gateway = 'docker_gwbridge'

const tables = {
  host: hostTable({ gateway, ingress: ingressAddresses, ports }),
  ingress: ingressTable({ ...balancer, ports }),
  network: networkTable({
    bridge: 'br0',
    addresses: [ip('10.0.0.3'), ip('fd00:1::3')],
    services: [
      { name: 'web', affinity: 'none', virtualAddress: ip('10.0.0.2'), replicas: [ip('10.0.0.11'), ip('10.0.0.12')] },
      { name: 'web', affinity: 'client', virtualAddress: ip('fd00:1::2'), replicas: [ip('fd00:1::11')] },
    ],
  }),
  neighbours: virtualNeighbours('vxlan0', [ip('10.0.0.2'), ip('fd00:1::2')]),
  isolation: ingressIsolation({ trusted: ['vxlan0', 'port2'], loadBalancers: balancerAddresses, ports }),
}

for (const [name, table] of Object.entries(tables)) {
  t.test(`${name}: nft shows it as it was meant, and loads what it has shown`, t =>
    withHost(t, host => {
      t.ok(keep(host, table).rebuilt)
      const shown = ruleset(host)
      matchesGolden(t, shown, `mesh-${name}.nft`)
      host.output(['nft', '-f', '-'], { input: `flush ruleset\n${shown}` })
      t.equal(ruleset(host), shown)
    }),
  )

  t.test(`${name}: what is as declared is read and not written`, t =>
    withHost(t, host => {
      keep(host, table)
      withNetfilter(host, () => {
        const before = host.output(['nft', '-j', 'list', 'ruleset'])
        const change = keep(host, table)
        t.same([change.rebuilt, change.added.size, change.removed.size], [false, 0, 0])
        t.equal(host.output(['nft', '-j', 'list', 'ruleset']), before, 'the handles are the same')
      })
    }),
  )

  t.test(`${name}: damage is found and mended`, t =>
    withHost(t, host => {
      keep(host, table)
      const whole = ruleset(host)
      const [family, tableName] = [table.family, table.table]
      const [set] = table.sets.filter(({ elements }) => elements.length > 0)
      const [chain] = table.chains.filter(({ base }) => base !== undefined)
      const damages: string[][] = [
        ['flush', 'chain', family, tableName, chain?.chain ?? ''],
        ['flush', set?.type.value === undefined ? 'set' : 'map', family, tableName, set?.set ?? ''],
        ['add', 'rule', family, tableName, chain?.chain ?? '', 'counter', 'accept'],
        ['add', 'chain', family, tableName, 'stray'],
        ['delete', 'table', family, tableName],
      ]
      for (const damage of damages) {
        host.output(['nft', ...damage])
        t.not(ruleset(host), whole, damage.join(' '))
        keep(host, table)
        t.equal(ruleset(host), whole, `mended after: ${damage.join(' ')}`)
      }
    }),
  )
}

t.test('a replica that leaves: only elements change, in one message', t =>
  withHost(t, host => {
    keep(host, tables.ingress)
    const left = publishedPorts(replicas.slice(0, 1)).ports
    const table = ingressTable({ ...balancer, ports: left })
    const change = keep(host, table)
    t.equal(change.rebuilt, false)
    const removed = [...change.removed.values()].flat()
    const added = [...change.added.values()].flat()
    t.ok(removed.length > 0 && removed.length === added.length, 'its slots lead elsewhere now, and no slot is empty')
    t.ok(
      removed.every(({ value }) => value?.includes(12) || value?.includes(0x12)),
      'slots of the other replica are not touched',
    )
  }),
)

t.test('the last service leaves nothing, and what others have in nftables stays', t =>
  withHost(t, host => {
    host.output(['nft', '-f', '-'], {
      input:
        'table inet cnikit {\nchain masquerading {\ntype nat hook postrouting priority srcnat\n}\n}\ntable ip nat {\n}\n',
    })
    const before = ruleset(host)
    keep(host, tables.host)
    keep(host, tables.isolation)
    withNetfilter(host, socket => {
      t.ok(removeTable(socket, meshTable))
      t.ok(removeTable(socket, isolationTable))
      t.notOk(removeTable(socket, meshTable), 'nothing there is fine')
    })
    t.equal(ruleset(host), before)
  }),
)

t.test('1,000 services are one message, and another to change one of them', t =>
  withHost(t, host => {
    const many = (count: number) =>
      publishedPorts(
        replicas.map(replica => ({
          ...replica,
          services: Array.from({ length: count }, (_, index) =>
            service({
              name: `service${index}`,
              ports: [{ published: 10_000 + index, target: 80, protocol: 'tcp', mode: 'mesh' }],
            }),
          ),
        })),
      ).ports
    const table = (count: number) => ingressTable({ ...balancer, ports: many(count) })
    const first = countingMessages(() => t.ok(keep(host, table(1000)).rebuilt))
    t.ok(first.sent < 10, `${first.sent} messages sent`)
    const change = keep(host, table(999))
    t.equal(change.rebuilt, false)
    t.same(
      [...change.removed.values()].map(elements => elements.length),
      [16, 16],
      'IPv4 and IPv6',
    )
    t.equal(change.added.size, 0)
  }),
)
