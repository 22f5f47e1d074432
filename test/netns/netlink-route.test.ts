/**
 * Routes over netlink, with ip-route(8) as the witness. Long, and one subject: the tests share the way in
 * which ip shows a route.
 */

import t from 'tap'
import { addAddressRequest } from '../../lib/netlink/route/addr/index.ts'
import { addLinkRequest, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import {
  addRoute,
  addRouteRequest,
  appendRouteRequest,
  deleteRoute,
  getRoute,
  listRoutes,
  type Route,
  RouteScope,
  replaceRoute,
} from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { Host } from '../harness/index.ts'
import { address, findLink, ip, prefix, refusal, sorted, text, withRouteSocket } from './netlink-fixture.ts'

interface Shown {
  readonly dst: string
  readonly type: string
  readonly gateway?: string
  readonly via?: { readonly host: string }
  readonly dev?: string
  readonly metric?: number
  readonly table?: string
  readonly scope?: string
  readonly protocol: string
  readonly prefsrc?: string
  readonly flags: readonly string[]
  readonly metrics?: readonly Readonly<Record<string, number>>[]
  readonly nexthops?: readonly { readonly gateway?: string; readonly dev: string; readonly weight: number }[]
}

const shown = (host: Host, family: 4 | 6, ...words: string[]) =>
  host.show<Shown[]>(`-${family}`, 'route', 'show', 'table', 'all', ...words)

const tables: Readonly<Record<string, number>> = { local: 255, main: 254, default: 253 }
const scopes: Readonly<Record<string, number>> = { global: 0, site: 200, link: 253, host: 254 }
const any = { 4: '0.0.0.0/0', 6: '::/0' } as const

const asShown = (family: 4 | 6) => (one: Shown) => ({
  destination:
    one.dst === 'default' ? any[family] : one.dst.includes('/') ? one.dst : `${one.dst}/${family === 4 ? 32 : 128}`,
  type: one.type,
  gateway: one.gateway ?? one.via?.host,
  dev: one.dev,
  priority: one.metric ?? 0,
  table: one.table === undefined ? 254 : (tables[one.table] ?? Number(one.table)),
  scope: one.scope === undefined ? 0 : (scopes[one.scope] ?? Number(one.scope)),
  preferredSource: one.prefsrc,
  onLink: one.flags.includes('onlink'),
  mtu: one.metrics?.[0]?.mtu,
  advmss: one.metrics?.[0]?.advmss,
  nextHops: one.nexthops?.map(hop => [hop.gateway, hop.dev, hop.weight]),
})

const asRead = (names: ReadonlyMap<number, string>) => (one: Route) => ({
  destination: text.prefix(one.destination),
  type: one.type,
  gateway: text.address(one.gateway),
  dev: one.index === undefined ? undefined : names.get(one.index),
  priority: one.priority,
  table: one.table,
  scope: one.scope,
  preferredSource: text.address(one.preferredSource),
  onLink: one.onLink,
  mtu: one.metrics.mtu,
  advmss: one.metrics.advmss,
  nextHops: one.nextHops?.map(hop => [text.address(hop.gateway), names.get(hop.index), hop.weight]),
})

/** Two links with addresses, up. @returns their indexes */
function twoLinks(socket: NetlinkSocket): { first: number; second: number; names: Map<number, string> } {
  socket.executeAll([
    addLinkRequest({ name: 'd0', kind: 'veth', peer: { name: 'd1' } }),
    addLinkRequest({ name: 'e0', kind: 'veth', peer: { name: 'e1' } }),
    ...['lo', 'd1', 'e1', 'd0', 'e0'].map(name => setLinkRequest({ name, up: true })),
  ])
  const [first, second] = [findLink(socket, 'd0').index, findLink(socket, 'e0').index]
  socket.executeAll([
    addAddressRequest({ index: first, prefix: prefix('10.0.0.2/24') }),
    addAddressRequest({ index: second, prefix: prefix('10.0.1.2/24') }),
    addAddressRequest({ index: first, prefix: prefix('2001:db8::2/64'), noDad: true }),
    addAddressRequest({ index: second, prefix: prefix('2001:db8:1::2/64'), noDad: true }),
  ])
  const names = new Map(['lo', 'd0', 'd1', 'e0', 'e1'].map(name => [findLink(socket, name).index, name]))
  return { first, second, names }
}

t.test('what is read of every route is what ip shows', t =>
  withRouteSocket(t, (socket, host) => {
    const { names } = twoLinks(socket)
    ip(
      host,
      4,
      `
      route add default via 10.0.0.1
      route add default via 10.0.1.1 metric 50 table 300
      route add 192.0.2.0/24 via 10.0.0.1 mtu 1300 advmss 1200 src 10.0.0.2 metric 7
      route add 198.51.100.0/24 dev d0 scope link
      route add 203.0.113.0/24 nexthop via 10.0.0.1 weight 3 nexthop via 10.0.1.1 dev e0
      route add blackhole 10.9.0.0/16
      route add unreachable 10.10.0.0/16 metric 9
      route add prohibit 10.11.0.0/16 table 17
      route add throw 10.12.0.0/16
      route add local 10.13.0.0/16 dev lo
      route add 10.14.0.0/16 via 172.31.0.1 dev d0 onlink
      route add 10.15.0.0/16 via inet6 2001:db8::1 dev d0
    `,
    )
    ip(
      host,
      6,
      `
      route add default via 2001:db8::1
      route add 2001:db8:9::/48 via 2001:db8::1 mtu 1290 metric 7 table 4000
      route add 2001:db8:a::/48 nexthop via 2001:db8::1 dev d0 nexthop via 2001:db8:1::1 dev e0
      route add blackhole 2001:db8:b::/48
    `,
    )
    // The kernel makes routes for link-local addresses meanwhile.
    const given = ({ destination }: { destination?: string | undefined }) => !destination?.startsWith('fe80:')
    for (const family of [4, 6] as const) {
      const ours = listRoutes(socket, { family }).map(asRead(names)).filter(given)
      t.same(sorted(ours), sorted(shown(host, family).map(asShown(family)).filter(given)), `IPv${family}`)
      t.ok(ours.length > 7)
    }
    const families = listRoutes(socket).map(route => route.family)
    t.ok(families.includes(4) && families.includes(6), 'both families unless one is asked for')
  }),
)

t.test('routes are added as ip would add them', t =>
  withRouteSocket(t, (socket, host) => {
    const { first, second } = twoLinks(socket)
    const [four, six] = [address('10.0.0.1'), address('2001:db8::1')]
    socket.executeAll([
      addRouteRequest({
        destination: prefix('0.0.0.0/0'),
        gateway: four,
        index: first,
        mtu: 1300,
        advmss: 1200,
        priority: 7,
      }),
      addRouteRequest({ destination: prefix('192.0.2.77/24'), gateway: four, table: 300 }),
      addRouteRequest({ destination: prefix('198.51.100.0/24'), index: first }),
      addRouteRequest({ destination: prefix('198.51.101.0/24'), index: first, scope: RouteScope.host, table: 9 }),
      addRouteRequest({ destination: prefix('198.51.102.0/24'), index: first, preferredSource: address('10.0.0.2') }),
      addRouteRequest({ destination: prefix('10.9.0.0/16'), type: 'blackhole' }),
      addRouteRequest({
        destination: prefix('10.10.0.0/16'),
        gateway: address('172.31.0.1'),
        index: first,
        onLink: true,
      }),
      addRouteRequest({ destination: prefix('10.11.0.0/16'), gateway: six, index: first }),
      addRouteRequest({
        destination: prefix('203.0.113.0/24'),
        nextHops: [
          { index: first, gateway: four, weight: 3 },
          { index: second, gateway: address('10.0.1.1') },
        ],
      }),
      addRouteRequest({
        destination: prefix('::/0'),
        gateway: six,
        index: first,
        mtu: 1290,
        advmss: 1210,
        priority: 8,
      }),
      addRouteRequest({ destination: prefix('2001:db8:9::/48'), index: first, table: 4000 }),
      addRouteRequest({ destination: prefix('2001:db8:a::/48'), type: 'unreachable' }),
    ])
    const find = (family: 4 | 6, dst: string) => shown(host, family).find(one => one.dst === dst)
    t.match(find(4, 'default'), {
      gateway: '10.0.0.1',
      dev: 'd0',
      metric: 7,
      protocol: 'boot',
      metrics: [{ mtu: 1300, advmss: 1200 }],
    })
    t.match(find(4, '192.0.2.0/24'), { table: '300', gateway: '10.0.0.1' }, 'host bits are cleared')
    t.match(find(4, '198.51.100.0/24'), { scope: 'link', dev: 'd0' })
    t.match(find(4, '198.51.101.0/24'), { scope: 'host', table: '9' })
    t.match(find(4, '198.51.102.0/24'), { prefsrc: '10.0.0.2' })
    t.match(find(4, '10.9.0.0/16'), { type: 'blackhole' })
    t.match(find(4, '10.10.0.0/16'), { gateway: '172.31.0.1', flags: ['onlink'] })
    t.match(find(4, '10.11.0.0/16'), { via: { family: 'inet6', host: '2001:db8::1' } })
    t.match(find(4, '203.0.113.0/24')?.nexthops, [
      { gateway: '10.0.0.1', dev: 'd0', weight: 3 },
      { gateway: '10.0.1.1', dev: 'e0', weight: 1 },
    ])
    t.match(find(6, 'default'), { gateway: '2001:db8::1', metric: 8, metrics: [{ mtu: 1290, advmss: 1210 }] })
    t.match(find(6, '2001:db8:9::/48'), { table: '4000', metric: 1024 })
    t.match(find(6, '2001:db8:a::/48'), { type: 'unreachable' })
  }),
)

t.test('filters are the kernel’s own', t =>
  withRouteSocket(t, (socket, host) => {
    const { first, second, names } = twoLinks(socket)
    ip(
      host,
      4,
      `
      route add default via 10.0.0.1
      route add 192.0.2.0/24 via 10.0.1.1 table 300
      route add 198.51.100.0/24 via 10.0.0.1 proto 99
      route add blackhole 10.9.0.0/16
    `,
    )
    ip(
      host,
      6,
      `
      route add default via 2001:db8::1 table 300
    `,
    )
    const count = (filter: Parameters<typeof listRoutes>[1]) => listRoutes(socket, filter).length
    t.same(
      listRoutes(socket, { table: 300 })
        .map(asRead(names))
        .map(one => [one.destination, one.table]),
      [
        ['192.0.2.0/24', 300],
        ['::/0', 300],
      ],
    )
    t.equal(count({ table: 300, family: 4 }), 1)
    t.equal(count({ table: 301 }), 0, 'a table that does not exist has no routes')
    t.same(
      listRoutes(socket, { index: second, family: 4 }).every(one => one.index === second),
      true,
    )
    t.equal(count({ index: first, family: 4, table: 254 }), 3)
    t.equal(count({ index: 9999 }), 0, 'nor has a link that does not exist')
    t.same(
      listRoutes(socket, { protocol: 99 }).map(one => text.prefix(one.destination)),
      ['198.51.100.0/24'],
    )
    t.same(
      listRoutes(socket, { type: 'blackhole' }).map(one => text.prefix(one.destination)),
      ['10.9.0.0/16'],
    )
    t.equal(count({ destination: prefix('0.0.0.0/0') }), 1)
    t.equal(count({ destination: prefix('::/0') }), 1)
    t.equal(count({ destination: prefix('198.51.100.0/24') }), 1)
    t.equal(count({ destination: prefix('198.51.100.0/25') }), 0)
  }),
)

t.test('add refuses what is there, replace replaces it, append adds another', t =>
  withRouteSocket(t, (socket, host) => {
    const { first } = twoLinks(socket)
    for (const [family, destination, gateway, other] of [
      [4, '192.0.2.0/24', '10.0.0.1', '10.0.0.9'],
      [6, '2001:db8:9::/48', '2001:db8::1', '2001:db8::9'],
    ] as const) {
      const route = { destination: prefix(destination), gateway: address(gateway), index: first }
      addRoute(socket, route)
      const error = refusal(() => addRoute(socket, route))
      t.match(
        error,
        { code: 'EEXIST', operation: `add route ${destination} via ${gateway} on link ${first}` },
        error.message,
      )
      replaceRoute(socket, { ...route, gateway: address(other) })
      const found = () => shown(host, family).filter(one => one.dst === destination)
      t.match(found(), [{ gateway: other }])
      t.equal(found().length, 1)
      addRoute(socket, { ...route, priority: 2000 })
      t.equal(found().length, 2, 'another priority is another route')
      socket.execute(appendRouteRequest(route))
      const hops = listRoutes(socket, { destination: prefix(destination) }).map(one => one.nextHops?.length ?? 1)
      t.equal(
        hops.reduce((sum, count) => sum + count),
        3,
      )
    }
  }),
)

t.test('deleteRoute() deletes what matches', t =>
  withRouteSocket(t, (socket, host) => {
    const { first, names } = twoLinks(socket)
    for (const [family, destination, gateway] of [
      [4, '192.0.2.0/24', '10.0.0.1'],
      [6, '2001:db8:9::/48', '2001:db8::1'],
    ] as const) {
      const route = { destination: prefix(destination), gateway: address(gateway), index: first }
      const count = () => shown(host, family).filter(one => one.dst === destination).length
      socket.executeAll([
        addRouteRequest(route),
        addRouteRequest({ ...route, priority: 50 }),
        addRouteRequest({ ...route, table: 77 }),
        addRouteRequest({
          ...route,
          table: 77,
          type: 'blackhole',
          gateway: undefined,
          index: undefined,
          priority: 4000,
        }),
      ])
      t.equal(count(), 4)
      t.equal(deleteRoute(socket, { destination: route.destination, priority: 50 }), true)
      t.equal(deleteRoute(socket, { destination: route.destination, priority: 50 }, { missing: 'ignore' }), false)
      t.equal(deleteRoute(socket, { destination: route.destination, table: 77, priority: 4000 }), true)
      t.same(
        listRoutes(socket, { destination: route.destination })
          .map(asRead(names))
          .map(one => [one.table, one.type])
          .sort(),
        [
          [254, 'unicast'],
          [77, 'unicast'],
        ].sort(),
      )
      t.equal(deleteRoute(socket, { destination: route.destination }), true)
      const error = refusal(() => deleteRoute(socket, { destination: route.destination }))
      t.match(error, { code: 'ESRCH', operation: `delete route ${destination}` }, error.message)
      t.equal(count(), 1)
    }
  }),
)

t.test('getRoute() tells which way a packet would go', t =>
  withRouteSocket(t, (socket, host) => {
    const { first, second } = twoLinks(socket)
    t.equal(getRoute(socket, { destination: address('8.8.8.8') }), undefined, 'no route')
    t.equal(getRoute(socket, { destination: address('2001:db8:ffff::1') }), undefined, 'no route')
    ip(
      host,
      4,
      `
      route add 8.8.8.0/24 via 10.0.1.1 mtu 1300
      route add unreachable 9.9.9.0/24
      route add default via 10.0.0.1 table 100
      rule add fwmark 0x7 lookup 100
    `,
    )
    ip(
      host,
      6,
      `
      route add 2001:db8:ffff::/48 via 2001:db8:1::1
      route add unreachable 2001:db8:eeee::/48
    `,
    )
    t.match(getRoute(socket, { destination: address('8.8.8.8') }), {
      index: second,
      gateway: address('10.0.1.1'),
      preferredSource: address('10.0.1.2'),
      metrics: { mtu: 1300 },
    })
    t.match(getRoute(socket, { destination: address('2001:db8:ffff::1') }), {
      index: second,
      gateway: address('2001:db8:1::1'),
    })
    t.match(getRoute(socket, { destination: address('1.1.1.1'), mark: 7 }), {
      index: first,
      gateway: address('10.0.0.1'),
    })
    t.match(getRoute(socket, { destination: address('10.0.0.2') }), { type: 'local' })
    t.match(getRoute(socket, { destination: address('8.8.8.8'), source: address('10.0.1.2'), index: second }), {
      index: second,
    })
    t.equal(getRoute(socket, { destination: address('9.9.9.9') }), undefined, 'unreachable')
    t.not(getRoute(socket, { destination: address('2001:db8:eeee::1') })?.type, 'unicast')
  }),
)

t.test('a route that makes no sense is refused with the kernel’s words', t =>
  withRouteSocket(t, socket => {
    const { first } = twoLinks(socket)
    const cases: [() => void, Record<string, unknown>][] = [
      [
        () => addRoute(socket, { destination: prefix('192.0.2.0/24'), gateway: address('172.31.0.1'), index: first }),
        { extAckMessage: /gateway/ },
      ],
      [() => addRoute(socket, { destination: prefix('192.0.2.0/24'), index: 9999 }), { code: 'ENODEV' }],
      [
        () =>
          addRoute(socket, {
            destination: prefix('2001:db8:9::/48'),
            gateway: address('2001:db8:77::1'),
            index: first,
          }),
        { code: 'EHOSTUNREACH' },
      ],
    ]
    for (const [run, expected] of cases) {
      const error = refusal(run)
      t.match(error, expected, error.message)
    }
  }),
)
