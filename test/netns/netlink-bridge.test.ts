/** Ports of bridges, their VLANs and forwarding entries, with bridge(8) as the witness. */

import t from 'tap'
import { formatAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import {
  addBridgeVlansRequest,
  addLink,
  deleteBridgeVlansRequest,
  listBridgePorts,
  setLink,
} from '../../lib/netlink/route/link/index.ts'
import {
  addForwardingEntry,
  addForwardingEntryRequest,
  appendForwardingEntry,
  deleteForwardingEntry,
  type ForwardingEntry,
  listForwardingEntries,
  replaceForwardingEntry,
} from '../../lib/netlink/route/neigh/index.ts'
import { Errno } from '../../lib/sys/errno.ts'
import type { Host } from '../harness/index.ts'
import { address, findLink, mac, makeLink, refusal, sorted, withRouteSocket } from './netlink-fixture.ts'

type Shown = Readonly<Record<string, unknown>>

const bridgeShows = (host: Host, ...words: string[]) =>
  JSON.parse(host.output(['bridge', '-j', '-d', ...words])) as Shown[]

t.test('settings of a bridge port are set and read', t =>
  withRouteSocket(t, (socket, host) => {
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    const other = makeLink(socket, { name: 'br1', kind: 'bridge' })
    addLink(socket, { name: 'p0', kind: 'veth', master: bridge.index, peer: { name: 'p0c' } })
    addLink(socket, { name: 'p1', kind: 'veth', master: other.index, peer: { name: 'p1c' } })
    setLink(socket, {
      name: 'p0',
      bridgePort: { hairpin: true, isolated: true, learning: false, neighSuppress: true, cost: 7, guard: true },
    })
    t.match(
      bridgeShows(host, 'link').find(port => port.ifname === 'p0'),
      { master: 'br0', hairpin: true, isolated: true, learning: false, neigh_suppress: true, cost: 7, guard: true },
    )
    const expected = { hairpin: true, isolated: true, learning: false, neighSuppress: true, cost: 7 }
    t.match(findLink(socket, 'p0').bridgePort, expected, 'with the link')
    const [port] = listBridgePorts(socket, { index: findLink(socket, 'p0').index })
    t.match(port, { name: 'p0', master: bridge.index, settings: expected, vlans: [] }, 'and with the ports')
    t.same(
      listBridgePorts(socket, { master: other.index })
        .map(({ name }) => name)
        .sort(),
      ['br1', 'p1'],
    )
    setLink(socket, { name: 'p0', bridgePort: { hairpin: false } })
    t.match(findLink(socket, 'p0').bridgePort, { hairpin: false, isolated: true }, 'the others stay')
    t.equal(findLink(socket, 'p0c').bridgePort, undefined)
  }),
)

t.test('a link that is no port has no port settings', t =>
  withRouteSocket(t, socket => {
    makeLink(socket, { name: 'p0', kind: 'ifb' })
    t.match(
      refusal(() => setLink(socket, { name: 'p0', bridgePort: { hairpin: true } })),
      { errno: Errno.EOPNOTSUPP },
    )
  }),
)

t.test('VLANs of a port are added, listed and deleted, or refused by a kernel that cannot filter them', t =>
  withRouteSocket(t, (socket, host) => {
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    addLink(socket, { name: 'p0', kind: 'veth', master: bridge.index, peer: { name: 'p0c' } })
    const { index } = findLink(socket, 'p0')
    const request = addBridgeVlansRequest({
      index,
      vlans: [
        { id: 5, pvid: true, untagged: true },
        { id: 10, lastId: 20 },
      ],
    })
    const [failure] = socket.tryAll([request])
    if (failure !== undefined) {
      t.match(failure, { code: 'EOPNOTSUPP', operation: `add VLAN 5, 10-20 of bridge port ${index}` })
      return
    }
    const vlans = () => listBridgePorts(socket, { index })[0]?.vlans
    t.match(vlans(), [{ id: 1 }, { id: 5, pvid: true, untagged: true }, { id: 10, lastId: 20 }])
    t.match(bridgeShows(host, 'vlan', 'show', 'dev', 'p0'), [
      { vlans: [{ vlan: 1 }, { vlan: 5 }, { vlan: 10, vlanEnd: 20 }] },
    ])
    socket.execute(deleteBridgeVlansRequest({ index, vlans: [{ id: 1 }, { id: 12, lastId: 20 }] }))
    t.match(vlans(), [{ id: 5 }, { id: 10, lastId: 11 }])
  }),
)

/** An entry as bridge shows it, in our words. */
const asShown = (one: Shown) => {
  const flags = one.flags as string[]
  return {
    mac: one.mac,
    device: one.ifname,
    self: flags.includes('self'),
    lifetime: one.state === 'permanent' ? 'permanent' : one.state === 'static' ? 'static' : 'dynamic',
    destination: one.dst,
    vni: one.vni,
    port: one.port,
  }
}

const asRead = (entry: ForwardingEntry, names: ReadonlyMap<number, string>) => ({
  mac: formatMac(entry.mac),
  device: names.get(entry.index),
  self: entry.self,
  lifetime: entry.lifetime,
  destination: entry.destination && formatAddress(entry.destination),
  vni: entry.vni,
  port: entry.port,
})

t.test('forwarding entries of a VXLAN are added, appended, replaced and deleted', t =>
  withRouteSocket(t, (socket, host) => {
    const below = makeLink(socket, { name: 'below', kind: 'ifb' })
    const { index } = makeLink(socket, { name: 'vx0', kind: 'vxlan', vxlan: { id: 9, learning: false, port: 4789 } })
    const [everyone, one] = [mac('00:00:00:00:00:00'), mac('02:00:00:00:00:05')]
    appendForwardingEntry(socket, { index, mac: everyone, destination: address('192.0.2.1') })
    appendForwardingEntry(socket, { index, mac: everyone, destination: address('192.0.2.2') })
    addForwardingEntry(socket, {
      index,
      mac: one,
      destination: address('192.0.2.3'),
      vni: 77,
      port: 4790,
      outgoingIndex: below.index,
    })
    const compare = (what: string) =>
      t.same(
        sorted(listForwardingEntries(socket, { index }).map(entry => asRead(entry, new Map([[index, 'vx0']])))),
        // Without the name of the device, as it was given.
        sorted(bridgeShows(host, 'fdb', 'show', 'dev', 'vx0').map(one => asShown({ ...one, ifname: 'vx0' }))),
        what,
      )
    t.equal(listForwardingEntries(socket, { index }).length, 3)
    compare('as bridge shows them')
    t.match(
      listForwardingEntries(socket, { index }).find(entry => entry.vni === 77),
      { port: 4790, outgoingIndex: below.index, lifetime: 'permanent', self: true },
    )
    t.match(
      refusal(() => addForwardingEntry(socket, { index, mac: one, destination: address('192.0.2.3') })),
      { code: 'EEXIST', operation: `add forwarding entry 02:00:00:00:00:05 to 192.0.2.3 of link ${index}` },
    )
    replaceForwardingEntry(socket, { index, mac: one, destination: address('192.0.2.4') })
    t.match(bridgeShows(host, 'fdb', 'get', '02:00:00:00:00:05', 'dev', 'vx0', 'self'), [{ dst: '192.0.2.4' }])
    compare('after the replacement')
    t.equal(deleteForwardingEntry(socket, { index, mac: everyone, destination: address('192.0.2.1') }), true)
    compare('one destination less')
    t.equal(deleteForwardingEntry(socket, { index, mac: one }), true)
    t.equal(deleteForwardingEntry(socket, { index, mac: one }, { missing: 'ignore' }), false)
    t.equal(deleteForwardingEntry(socket, { index: 9999, mac: one }, { missing: 'ignore' }), false)
    t.match(
      refusal(() => deleteForwardingEntry(socket, { index, mac: one })),
      { code: 'ENOENT' },
    )
    compare('at the end')
  }),
)

t.test('forwarding entries of a bridge: permanent, static and dynamic, of one port or of the bridge', t =>
  withRouteSocket(t, (socket, host) => {
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    const other = makeLink(socket, { name: 'br1', kind: 'bridge', up: true })
    const port = (name: string, master: number) => {
      addLink(socket, { name, kind: 'veth', master, up: true, peer: { name: `${name}c` } })
      setLink(socket, { name: `${name}c`, up: true })
      return findLink(socket, name).index
    }
    const [p0, p1, p2] = [port('p0', bridge.index), port('p1', bridge.index), port('p2', other.index)]
    const lifetimes = ['permanent', 'static', 'dynamic'] as const
    socket.executeAll(
      lifetimes.map((lifetime, number) =>
        addForwardingEntryRequest({ index: p0, mac: mac(`02:00:00:00:01:0${number}`), table: 'master', lifetime }),
      ),
    )
    socket.execute(
      addForwardingEntryRequest({ index: p1, mac: mac('02:00:00:00:02:00'), table: 'master', lifetime: 'static' }),
    )
    socket.execute(
      addForwardingEntryRequest({ index: p2, mac: mac('02:00:00:00:03:00'), table: 'master', lifetime: 'static' }),
    )
    // A kernel that can filter VLANs makes an entry for each VLAN of the port besides the one without.
    const inVlans = listForwardingEntries(socket, { index: p1 }).some(({ vlan }) => vlan !== undefined)
    const made = (entries: ForwardingEntry[]) =>
      entries
        .filter(({ vlan }) => vlan === undefined)
        .map(entry => formatMac(entry.mac))
        .filter(text => /^02:00:00:00:0[123]/.test(text))
        .sort()
    t.same(made(listForwardingEntries(socket, { index: p1 })), ['02:00:00:00:02:00'], 'of a port')
    t.same(made(listForwardingEntries(socket, { master: other.index })), ['02:00:00:00:03:00'], 'of a bridge')
    t.equal(made(listForwardingEntries(socket)).length, 5, 'of all')
    for (const [number, lifetime] of lifetimes.entries())
      t.match(
        listForwardingEntries(socket, { index: p0 }).find(
          entry => formatMac(entry.mac) === `02:00:00:00:01:0${number}`,
        ),
        { lifetime, master: bridge.index },
      )
    // The kernel learns and makes entries of its own meanwhile.
    const ours = (entry: { mac?: unknown }) => /^02:00:00:00:0[123]/.test(String(entry.mac))
    const names = new Map(listBridgePorts(socket).map(({ index, name }) => [index, name]))
    const read = listForwardingEntries(socket, { master: bridge.index }).map(entry => asRead(entry, names))
    t.equal(read.filter(ours).length, inVlans ? 8 : 4)
    t.same(sorted(read.filter(ours)), sorted(bridgeShows(host, 'fdb', 'show', 'br', 'br0').map(asShown).filter(ours)))
  }),
)
