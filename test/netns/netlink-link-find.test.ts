/** Links over netlink: found by names and filters, deleted, counted, and what a refusal says. */

import t from 'tap'
import {
  addAlternativeNamesRequest,
  addLink,
  addLinkRequest,
  deleteAlternativeNamesRequest,
  deleteLink,
  deleteLinks,
  getLink,
  listLinks,
  setLink,
} from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { findLink, mac, makeLink, refusal, shownLink, withRouteSocket } from './netlink-fixture.ts'

t.test('alternative names are added, found and deleted', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'l0', kind: 'ifb' })
    const long = `${'a-long-name-'.repeat(10)}end`
    socket.execute(addAlternativeNamesRequest(index, [long, 'short']))
    t.same(shownLink(host, 'l0').altnames, [long, 'short'])
    t.equal(getLink(socket, { name: long })?.index, index)
    t.equal(getLink(socket, { name: 'short' })?.name, 'l0')
    setLink(socket, { name: long, up: true })
    t.ok(shownLink(host, 'l0').flags.includes('UP'), 'a link is also changed by it')
    socket.execute(deleteAlternativeNamesRequest(index, [long]))
    t.same(findLink(socket, 'l0').alternativeNames, ['short'])
    t.equal(getLink(socket, { name: long }), undefined)
  }),
)

t.test('filters of a list are the kernel’s own, and hold for kinds that it does not know', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add br0 type bridge
      link add br1 type bridge
      link add pa type veth peer name pb
      link add pc type veth peer name pd
      link set pa master br0
      link set pc master br1
    `)
    const names = (filter: Parameters<typeof listLinks>[1]) =>
      listLinks(socket, filter)
        .map(link => link.name)
        .sort()
    t.same(names({}), ['br0', 'br1', 'lo', 'pa', 'pb', 'pc', 'pd'])
    t.same(names({ kind: 'veth' }), ['pa', 'pb', 'pc', 'pd'])
    t.same(names({ master: shownLink(host, 'br0').ifindex }), ['pa'])
    t.same(names({ kind: 'bridge', master: shownLink(host, 'br0').ifindex }), [])
    t.same(names({ kind: 'no-such-kind' }), [])
    t.same(names({ master: 9999 }), [])
  }),
)

t.test('deleteLink() by name, index and group; a link that is not there is an error unless ignored', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add pa type ifb
      link add pb type ifb
      link add pc group 9 type ifb
      link add pd group 9 type ifb
      link add pe type ifb
    `)
    t.equal(deleteLink(socket, { name: 'pa' }), true)
    t.equal(deleteLink(socket, { index: findLink(socket, 'pb').index }), true)
    t.equal(deleteLink(socket, { group: 9 }), true)
    t.same(host.links(), ['lo', 'pe'])
    t.match(
      refusal(() => deleteLink(socket, { name: 'pa' })),
      { code: 'ENODEV', operation: 'delete link "pa"' },
    )
    t.equal(deleteLink(socket, { name: 'pa' }, { missing: 'ignore' }), false)
    t.equal(deleteLink(socket, { index: 9999 }, { missing: 'ignore' }), false)
    t.match(
      refusal(() => deleteLink(socket, { name: 'lo' }, { missing: 'ignore' })),
      { code: 'EOPNOTSUPP' },
      'what cannot be deleted is an error all the same',
    )
  }),
)

t.test('deleteLinks() deletes many at once, and passes over those that are gone', t =>
  withRouteSocket(t, (socket, host) => {
    const names = Array.from({ length: 150 }, (_, number) => `l${number}`)
    socket.executeAll(names.map(name => addLinkRequest({ name, kind: 'veth', peer: { name: `${name}p` } })))
    const links = listLinks(socket, { kind: 'veth' }).filter(link => !link.name.endsWith('p'))
    t.equal(links.length, 150)
    const kept = links.slice(0, 3)
    deleteLink(socket, { name: 'l7' })
    deleteLinks(socket, links.slice(3))
    t.same(
      listLinks(socket, { kind: 'veth' })
        .map(link => link.name)
        .filter(name => !name.endsWith('p')),
      kept.map(link => link.name),
    )
    deleteLinks(socket, kept.slice(0, 1))
    deleteLinks(socket, [])
    t.equal(host.links().length, 5)
  }),
)

t.test('counters are 64 bits wide and count', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip('link set lo up')
    t.ok(host.pings('127.0.0.1'))
    const [shown] = JSON.parse(host.output(['ip', '-s', '-j', 'link', 'show', 'dev', 'lo'])) as {
      stats64: { rx: { bytes: number; packets: number } }
    }[]
    const { statistics } = findLink(socket, 'lo')
    t.equal(statistics?.rxBytes, BigInt(shown?.stats64.rx.bytes ?? -1))
    t.equal(statistics?.txPackets, BigInt(shown?.stats64.rx.packets ?? -1))
    t.ok((statistics?.rxBytes ?? 0n) > 0n)
  }),
)

t.test('a refusal names the operation, the errno and the kernel’s own words', t =>
  withRouteSocket(t, socket => {
    makeLink(socket, { name: 'taken', kind: 'veth', peer: { name: 'peer' } })
    const cases: [() => unknown, Record<string, unknown>][] = [
      [
        () => addLink(socket, { name: 'taken', kind: 'ifb' }),
        { code: 'EEXIST', operation: 'create link "taken" of kind "ifb"' },
      ],
      [
        () => addLink(socket, { name: 'x', kind: 'no-such-kind' }),
        { errno: Errno.EOPNOTSUPP, extAckMessage: 'Unknown device type' },
      ],
      [() => addLink(socket, { name: 'x', kind: 'vxlan', vxlan: { id: 1 << 24 } }), { extAckMessage: /VXLAN ID/ }],
      [() => setLink(socket, { index: 9999, up: true }), { code: 'ENODEV', operation: 'change link 9999' }],
      [() => setLink(socket, { name: 'taken', mtu: 1 << 30 }), { code: 'EINVAL', extAckMessage: /mtu greater than/ }],
      [() => setLink(socket, { name: 'taken', mac: mac('01:00:00:00:00:00') }), { code: 'EADDRNOTAVAIL' }],
      [() => addLink(socket, { name: 'sixteen-bytes-xx', kind: 'ifb' }), { code: /ERANGE|EINVAL/ }],
      [() => addLink(socket, { name: 'tun0', kind: 'tun' }), { code: /EINVAL|EOPNOTSUPP/ }],
    ]
    for (const [run, expected] of cases) {
      const error = refusal(run)
      t.match(error, { name: 'NetlinkError', ...expected }, error.message)
      t.ok(error.message.startsWith(`${error.operation}: `))
      t.ok(error.message.includes(error.code))
      if (error.extAckMessage !== undefined) t.ok(error.message.includes(error.extAckMessage))
    }
    t.throws(() => addLink(socket, { name: 'x', kind: 'veth', bridge: {} }), TypeError)
  }),
)

t.test('a link that is not there is undefined', t =>
  withRouteSocket(t, (socket: NetlinkSocket) => {
    t.equal(getLink(socket, { name: 'nothing' }), undefined)
    t.equal(getLink(socket, { index: 9999 }), undefined)
    t.equal(getLink(socket, { name: 'a-name-that-is-longer-than-15-bytes' }), undefined)
  }),
)
