/** Addresses over netlink, with ip-address(8) as the witness. */

import t from 'tap'
import {
  type Address,
  addAddress,
  addAddressRequest,
  deleteAddress,
  listAddresses,
  replaceAddress,
} from '../../lib/netlink/route/addr/index.ts'
import { setLink } from '../../lib/netlink/route/link/index.ts'
import type { Host } from '../harness/index.ts'
import { address, makeLink, prefix, refusal, sorted, text, withRouteSocket } from './netlink-fixture.ts'

interface Shown {
  readonly local: string
  readonly address?: string
  readonly prefixlen: number
  readonly family: string
  readonly broadcast?: string
  readonly label?: string
  readonly scope: string
  readonly tentative?: boolean
  readonly dadfailed?: boolean
  readonly nodad?: boolean
  readonly noprefixroute?: boolean
  readonly metric?: number
  readonly valid_life_time: number
}

const shown = (host: Host, dev?: string): Shown[] =>
  host
    .show<{ addr_info?: Shown[] }[]>('addr', 'show', ...(dev === undefined ? [] : ['dev', dev]))
    .flatMap(link => link.addr_info ?? [])

const scopes: Readonly<Record<string, number>> = { global: 0, site: 200, link: 253, host: 254 }

const asShown = (one: Shown) => ({
  family: one.family === 'inet' ? 4 : 6,
  prefix: `${one.local}/${one.prefixlen}`,
  peer: one.address,
  broadcast: one.broadcast,
  label: one.label,
  scope: scopes[one.scope] ?? Number(one.scope),
  tentative: one.tentative ?? false,
  priority: one.metric,
  forever: one.valid_life_time === 0xffffffff,
})

const asRead = (one: Address) => ({
  family: one.family,
  prefix: text.prefix(one.prefix),
  peer: text.address(one.peer),
  broadcast: text.address(one.broadcast),
  label: one.label,
  scope: one.scope,
  tentative: one.tentative,
  priority: one.priority,
  forever: one.validSeconds === undefined,
})

t.test('what is read of every address is what ip shows', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add d0 type veth peer name d1
      addr add 10.0.0.1/24 broadcast + dev d0
      addr add 10.0.1.1/24 scope link label d0:1 dev d0
      addr add 10.0.2.1 peer 10.0.2.2/32 dev d0
      addr add 10.0.3.1/24 valid_lft 1000 preferred_lft 500 metric 77 dev d0
      addr add 2001:db8::1/64 dev d0 nodad
      addr add 2001:db8:1::1 peer 2001:db8:1::2/128 dev d0 nodad
      addr add 2001:db8:2::1/64 noprefixroute dev d0
      link set d0 up
      link set d1 up
    `)
    // The kernel makes link-local addresses meanwhile.
    const given = ({ prefix }: { prefix?: string | undefined }) => !prefix?.startsWith('fe80:')
    t.same(sorted(listAddresses(socket).map(asRead).filter(given)), sorted(shown(host).map(asShown).filter(given)))
    t.ok(listAddresses(socket).length >= 8)
    const limited = listAddresses(socket, { family: 4 }).find(one => one.validSeconds !== undefined)
    t.ok((limited?.validSeconds ?? 0) <= 1000 && (limited?.validSeconds ?? 0) > 900)
    t.ok((limited?.preferredSeconds ?? 0) <= 500)
  }),
)

t.test('addresses are added as ip would add them', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'veth', peer: { name: 'd1' } })
    setLink(socket, { name: 'd1', up: true })
    setLink(socket, { index, up: true, multicast: false })
    socket.executeAll([
      addAddressRequest({ index, prefix: prefix('10.0.0.1/24') }),
      addAddressRequest({ index, prefix: prefix('10.0.1.1/24'), broadcast: false, scope: 253, label: 'd0:x' }),
      addAddressRequest({ index, prefix: prefix('10.0.2.1/32'), peer: address('10.0.2.2') }),
      addAddressRequest({ index, prefix: prefix('10.0.3.1/31') }),
      addAddressRequest({ index, prefix: prefix('10.0.4.1/24'), validSeconds: 600, priority: 55 }),
      addAddressRequest({ index, prefix: prefix('2001:db8::1/64'), noDad: true }),
      addAddressRequest({ index, prefix: prefix('2001:db8:1::1/64'), noDad: true, noPrefixRoute: true }),
    ])
    const find = (local: string) => shown(host, 'd0').find(one => one.local === local)
    t.match(find('10.0.0.1'), {
      prefixlen: 24,
      broadcast: '10.0.0.255',
      scope: 'global',
      label: 'd0',
      valid_life_time: 0xffffffff,
    })
    t.match(find('10.0.1.1'), { scope: 'link', label: 'd0:x', broadcast: undefined })
    t.match(find('10.0.2.1'), { address: '10.0.2.2', prefixlen: 32, broadcast: undefined })
    t.match(find('10.0.3.1'), { prefixlen: 31, broadcast: undefined })
    t.match(find('10.0.4.1'), { metric: 55 })
    t.ok((find('10.0.4.1')?.valid_life_time ?? Number.POSITIVE_INFINITY) <= 600)
    t.match(find('2001:db8::1'), { prefixlen: 64, nodad: true, tentative: undefined })
    t.match(find('2001:db8:1::1'), { noprefixroute: true })
    t.notMatch(JSON.stringify(host.show('-6', 'route')), '2001:db8:1::/64', 'no route for the prefix')
    t.match(JSON.stringify(host.show('-6', 'route')), '2001:db8::/64')
    const given = ({ prefix }: { prefix?: string | undefined }) => !prefix?.startsWith('fe80:')
    t.same(listAddresses(socket, { index }).map(asRead).filter(given), shown(host, 'd0').map(asShown).filter(given))
  }),
)

t.test('an address without duplicate address detection is there at once, one with it is tentative first', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'veth', peer: { name: 'd1' } })
    setLink(socket, { name: 'd1', up: true })
    setLink(socket, { index, up: true })
    socket.executeAll([
      addAddressRequest({ index, prefix: prefix('2001:db8::1/64'), noDad: true }),
      addAddressRequest({ index, prefix: prefix('2001:db8::2/64') }),
    ])
    const tentative = Object.fromEntries(
      listAddresses(socket, { index, family: 6 }).map(one => [text.prefix(one.prefix), one.tentative]),
    )
    t.match(tentative, { '2001:db8::1/64': false, '2001:db8::2/64': true })
    t.ok(host.pings('2001:db8::1'))
  }),
)

t.test('filters are the kernel’s own: one link, one family', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add d0 type veth peer name d1
      addr add 10.0.0.1/24 dev d0
      addr add 2001:db8::1/64 dev d0
      addr add 10.0.1.1/24 dev d1
    `)
    const index = Number(host.show<{ ifindex: number }[]>('link', 'show', 'dev', 'd0')[0]?.ifindex)
    const prefixes = (filter: Parameters<typeof listAddresses>[1]) =>
      listAddresses(socket, filter).map(one => text.prefix(one.prefix))
    t.same(prefixes({ index }), ['10.0.0.1/24', '2001:db8::1/64'])
    t.same(prefixes({ index, family: 4 }), ['10.0.0.1/24'])
    t.same(prefixes({ index, family: 6 }), ['2001:db8::1/64'])
    t.same(prefixes({ family: 4 }).sort(), ['10.0.0.1/24', '10.0.1.1/24', '127.0.0.1/8'])
    t.match(
      refusal(() => listAddresses(socket, { index: 9999 })),
      {
        code: 'ENODEV',
        operation: 'list addresses of link 9999',
      },
    )
  }),
)

t.test('replaceAddress() changes what is there; addAddress() refuses it', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb' })
    const one = { index, prefix: prefix('10.0.0.1/24') }
    addAddress(socket, one)
    const error = refusal(() => addAddress(socket, { ...one, name: 'd0' }))
    t.match(error, { code: 'EEXIST', operation: 'add address 10.0.0.1/24 to link "d0"' }, error.message)
    replaceAddress(socket, { ...one, validSeconds: 900 })
    t.ok((shown(host, 'd0')[0]?.valid_life_time ?? Number.POSITIVE_INFINITY) <= 900)
    replaceAddress(socket, { ...one, prefix: prefix('10.0.0.9/24') })
    t.equal(shown(host, 'd0').length, 2, 'one that is not there is added')
  }),
)

t.test('deleteAddress() deletes exactly that address', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb' })
    const all = ['10.0.0.1/24', '10.0.0.2/24', '2001:db8::1/64', '2001:db8::2/64']
    for (const one of all) addAddress(socket, { index, prefix: prefix(one), noDad: true })
    t.equal(deleteAddress(socket, { index, prefix: prefix('10.0.0.2/24') }), true)
    t.equal(deleteAddress(socket, { index, prefix: prefix('2001:db8::1/64') }), true)
    t.same(
      shown(host, 'd0').map(one => one.local),
      ['10.0.0.1', '2001:db8::2'],
    )
    for (const gone of ['10.0.0.2/24', '2001:db8::1/64']) {
      t.equal(deleteAddress(socket, { index, prefix: prefix(gone) }, { missing: 'ignore' }), false)
      t.equal(deleteAddress(socket, { index: 9999, prefix: prefix(gone) }, { missing: 'ignore' }), false)
      t.match(
        refusal(() => deleteAddress(socket, { index, prefix: prefix(gone) })),
        { code: 'EADDRNOTAVAIL' },
      )
    }
  }),
)

t.test('a bad address is refused with the kernel’s words', t =>
  withRouteSocket(t, socket => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb' })
    const error = refusal(() => addAddress(socket, { index, prefix: { address: address('10.0.0.1'), length: 33 } }))
    t.equal(error.code, 'EINVAL')
    // Linux 6.1 has no words for it.
    if (error.extAckMessage !== undefined) t.match(error.extAckMessage, /prefix length/i, error.message)
    t.match(
      refusal(() => addAddress(socket, { index: 9999, prefix: prefix('10.0.0.1/24') })),
      { code: 'ENODEV' },
    )
  }),
)
