/** VLANs of a bridge, with packets: access ports, trunks, the bridge's default VLAN. The kernel of CI cannot filter them. */

import t, { type Test } from 'tap'
import {
  type Attachment,
  assertSameSnapshot,
  failEveryStep,
  goPluginDirectory,
  type Host,
  Network,
  type NetworkNamespace,
  snapshot,
  withHost,
} from '../harness/index.ts'

/** A network without addresses: the tests give theirs, so that containers of different VLANs can have one subnet. */
const layer2 = (host: Host, keys: object): Network =>
  new Network(host, {
    name: `layer2${JSON.stringify(keys).replace(/\W+/g, '-')}`,
    isDefaultGateway: false,
    ipam: {},
    ...keys,
  })

let addresses = 1

/** An address that no other container of this process has; all are in one subnet. Answers at once. */
function giveAddress(container: NetworkNamespace, link = 'eth0'): string {
  const address = `10.77.${addresses >> 8}.${addresses++ & 255}`
  container.ip(`addr add ${address}/16 dev ${link}\nlink set ${link} up`)
  return address
}

interface Station {
  readonly attachment: Attachment
  readonly container: NetworkNamespace
  readonly address: string
}

/** A container that sends and receives without tags. */
function station(host: Host, keys: object): Station {
  const attachment = layer2(host, keys).attach()
  return { attachment, container: attachment.container, address: giveAddress(attachment.container) }
}

/** A link of the container that tags what it sends and takes only what is tagged so; with an address. */
function tagged(container: NetworkNamespace, vlan: number): string {
  const name = `eth0.${vlan}`
  container.ip(`link add ${name} link eth0 type vlan id ${vlan}`)
  return giveAddress(container, name)
}

/** Counts the ARP requests and pings that come in at eth0, as they come: with which tag. */
function countFrames(container: NetworkNamespace, vlans: readonly number[]): () => Record<string, number> {
  const tags = vlans.map(vlan => `vlan id ${vlan} counter name "vlan${vlan}"`)
  container.output(['nft', '-f', '-'], {
    input: `table netdev seen {
${vlans.map(vlan => `counter vlan${vlan} { }`).join('\n')}
counter untagged { }
chain in {
type filter hook ingress device "eth0" priority 0
${tags.join('\n')}
ether type arp counter name "untagged"
ether type ip ip protocol icmp counter name "untagged"
}
}`,
  })
  return () => {
    const listed = JSON.parse(container.output(['nft', '-j', 'list', 'counters'])) as {
      nftables: { counter?: { name: string; packets: number } }[]
    }
    return Object.fromEntries(
      listed.nftables.flatMap(({ counter }) => (counter === undefined ? [] : [[counter.name, counter.packets]])),
    )
  }
}

interface PortVlan {
  readonly vlan: number
  readonly vlanEnd?: number
  readonly flags?: readonly string[]
}

/** What "bridge vlan" says of the host's end. */
function vlansOf({ network: { host }, port }: Attachment): PortVlan[] {
  const [shown] = JSON.parse(host.output(['bridge', '-j', '-compressvlans', 'vlan', 'show', 'dev', port])) as {
    vlans: PortVlan[]
  }[]
  return (shown?.vlans ?? []).map(({ flags, ...ids }) =>
    flags === undefined || flags.length === 0 ? ids : { ...ids, flags },
  )
}

const access = (vlan: number): PortVlan => ({ vlan, flags: ['PVID', 'Egress Untagged'] })

function assertSilent(t: Test, from: NetworkNamespace, address: string, message: string): void {
  t.notOk(from.pings(address, 0.5), message)
}

t.test('access ports: containers of one VLAN hear each other and not those of another, and see no tags', t =>
  withHost(t, host => {
    const [one, two] = [station(host, { vlan: 100 }), station(host, { vlan: 100 })]
    const [other, none] = [station(host, { vlan: 200 }), station(host, {})]
    const seen = countFrames(two.container, [100, 200])
    const elsewhere = countFrames(other.container, [100, 200])
    t.ok(one.container.pings(two.address))
    assertSilent(t, one.container, other.address, 'VLAN 200')
    assertSilent(t, one.container, none.address, 'no VLAN')
    assertSilent(t, none.container, other.address, 'nor from there')
    const { untagged, ...tags } = seen()
    t.same(tags, { vlan100: 0, vlan200: 0 })
    t.ok((untagged ?? 0) >= 2, 'ARP and a ping')
    t.same(elsewhere(), { vlan100: 0, vlan200: 0, untagged: 0 }, 'not even a request for the address came through')
    t.same(vlansOf(one.attachment), [access(100)])
    t.same(vlansOf(other.attachment), [access(200)])
    t.match(host.output(['ip', '-d', 'link', 'show', 'br0']), 'vlan_filtering 1')
    for (const { attachment } of [one, two, other, none]) t.equal(attachment.check().stdout, '')
  }),
)

t.test('a trunk carries its VLANs tagged and no others, and VLAN 1 without a tag', t =>
  withHost(t, host => {
    const trunk = layer2(host, { vlanTrunk: [{ id: 100 }, { minID: 200, maxID: 210 }] }).attach()
    t.same(vlansOf(trunk), [access(1), { vlan: 100 }, { vlan: 200, vlanEnd: 210 }])
    const { container } = trunk
    const count = countFrames(container, [100, 205, 211])
    const [a100, a205, a211] = [
      station(host, { vlan: 100 }),
      station(host, { vlan: 205 }),
      station(host, { vlan: 211 }),
    ]
    const plain = station(host, {})

    // One after the other, since all have one subnet.
    for (const { vlan, reached, unreached } of [
      { vlan: 100, reached: a100, unreached: a205 },
      { vlan: 205, reached: a205, unreached: a100 },
    ]) {
      const address = tagged(container, vlan)
      t.ok(container.pings(reached.address), `VLAN ${vlan}`)
      t.ok(reached.container.pings(address), 'and back')
      assertSilent(t, container, unreached.address, 'nothing of the other VLAN')
      assertSilent(t, unreached.container, address, 'nor from there')
      assertSilent(t, plain.container, address, 'nor without a tag')
      t.ok((count()[`vlan${vlan}`] ?? 0) >= 2, 'tagged, as the trunk’s own link sees it')
      container.ip(`link del eth0.${vlan}`)
    }
    const outside = tagged(container, 211)
    assertSilent(t, container, a211.address, '211 is not one of its VLANs')
    assertSilent(t, a211.container, outside, 'nor from there')
    t.equal(count().vlan211, 0)
    container.ip('link del eth0.211')

    const untagged = giveAddress(container)
    t.ok(container.pings(plain.address), 'VLAN 1')
    t.ok(plain.container.pings(untagged))
    assertSilent(t, container, a100.address, 'without a tag')
    t.equal(trunk.check().stdout, '')
  }),
)

t.test('two trunks exchange tagged frames', t =>
  withHost(t, host => {
    const network = layer2(host, { vlanTrunk: [{ id: 100 }, { id: 4094 }] })
    const [one, two] = [network.attach(), network.attach()]
    const seen = countFrames(two.container, [100, 4094])
    for (const vlan of [100, 4094]) {
      tagged(one.container, vlan)
      t.ok(one.container.pings(tagged(two.container, vlan)))
      for (const { container } of [one, two]) container.ip(`link del eth0.${vlan}`)
    }
    const { vlan100 = 0, vlan4094 = 0, untagged } = seen()
    t.ok(vlan100 >= 2)
    t.ok(vlan4094 >= 2)
    t.equal(untagged, 0)
  }),
)

t.test('with vlan and vlanTrunk the untagged VLAN of the trunk is the access VLAN', t =>
  withHost(t, host => {
    const both = station(host, { vlan: 50, vlanTrunk: [{ id: 60 }] })
    const [in50, in60, plain] = [station(host, { vlan: 50 }), station(host, { vlan: 60 }), station(host, {})]
    t.same(vlansOf(both.attachment), [access(50), { vlan: 60 }])
    t.ok(both.container.pings(in50.address))
    assertSilent(t, both.container, plain.address, 'VLAN 1')
    assertSilent(t, both.container, in60.address, 'VLAN 60 without a tag')
    both.container.ip('addr flush dev eth0')
    tagged(both.container, 60)
    t.ok(both.container.pings(in60.address))
  }),
)

t.test('preserveDefaultVlan leaves the port in VLAN 1, whose frames it hears and to which it does not send', t =>
  withHost(t, host => {
    const kept = station(host, { vlan: 100, preserveDefaultVlan: true })
    const left = station(host, { vlan: 100 })
    const plain = station(host, {})
    t.same(vlansOf(kept.attachment), [{ vlan: 1, flags: ['Egress Untagged'] }, access(100)])
    t.same(vlansOf(left.attachment), [access(100)])
    const [heard, unheard, answered] = [kept, left, plain].map(({ container }) => countFrames(container, []))
    assertSilent(t, plain.container, '10.77.255.254', 'nobody has the address: only a request for it goes out')
    t.ok((heard?.().untagged ?? 0) >= 1, 'heard with VLAN 1')
    t.equal(unheard?.().untagged, 0, 'and not without')
    assertSilent(t, kept.container, '10.77.255.254', 'the other way')
    t.equal(answered?.().untagged, 0, 'what it sends goes to VLAN 100')
    t.ok((unheard?.().untagged ?? 0) >= 1)
    t.equal(kept.attachment.check().stdout, '')
  }),
)

t.test('the bridge’s own default VLAN, whichever it is, is the one that is kept or left', t =>
  withHost(t, host => {
    host.ip('link add br0 type bridge vlan_filtering 1 vlan_default_pvid 7')
    t.same(vlansOf(layer2(host, { vlan: 100 }).attach()), [access(100)])
    t.same(vlansOf(layer2(host, { vlan: 100, preserveDefaultVlan: true }).attach()), [
      { vlan: 7, flags: ['Egress Untagged'] },
      access(100),
    ])
    t.same(vlansOf(layer2(host, {}).attach()), [access(7)], 'without vlan it is the bridge’s affair')
  }),
)

t.test('CHECK finds a VLAN that the port has left, of an access port and of a trunk', t =>
  withHost(t, host => {
    const attached = layer2(host, { vlan: 100 }).attach()
    const trunk = layer2(host, { vlanTrunk: [{ id: 100 }, { minID: 200, maxID: 210 }] }).attach()
    const damages: [Attachment, string][] = [
      [attached, '100'],
      [trunk, '205'],
      [trunk, '100'],
    ]
    for (const [attachment, vlan] of damages) {
      t.equal(attachment.check().stdout, '')
      host.output(['bridge', 'vlan', 'del', 'dev', attachment.port, 'vid', vlan])
      const { error } = attachment.check()
      t.equal(error?.code, 105)
      t.match(error?.msg, `is gone from port "${attachment.port}"`)
      const repaired = vlan === '100' && attachment === attached ? ['pvid', 'untagged'] : []
      host.output(['bridge', 'vlan', 'add', 'dev', attachment.port, 'vid', vlan, ...repaired])
    }
    t.equal(trunk.check().stdout, '')
  }),
)

t.test('ADD with a trunk that fails at any step leaves the host as it was', t =>
  withHost(t, host => {
    const network = layer2(host, { vlanTrunk: [{ minID: 10, maxID: 20 }] })
    const neighbour = network.attach()
    const before = snapshot(host)
    const container = host.createContainer()
    const { steps } = failEveryStep(t, network, { container }, claim =>
      assertSameSnapshot(t, before, snapshot(host), claim),
    )
    t.ok(steps >= 3)
    t.equal(neighbour.check().stdout, '')
  }),
)

t.test('ports of many ADDs at the same time are in their own VLAN each', t =>
  withHost(t, async host => {
    host.ip('link add br0 type bridge vlan_filtering 1')
    const networks = [11, 12, 13].map(vlan => layer2(host, { vlan }))
    const made = await Promise.all(networks.map(network => network.attachAtOnce(2)))
    for (const [index, [one, two]] of made.entries()) {
      if (one === undefined || two === undefined) throw new Error('two were made')
      t.same(vlansOf(one), [access(11 + index)])
      giveAddress(one.container)
      t.ok(one.container.pings(giveAddress(two.container)))
      const [stranger] = made[(index + 1) % made.length] ?? []
      if (stranger !== undefined) assertSilent(t, one.container, giveAddress(stranger.container), 'the next VLAN')
    }
  }),
)

t.test('a container of ours and one of the Go plugin in the same VLAN hear each other, in another they do not', t =>
  withHost(t, host => {
    const ours = station(host, { vlan: 100 })
    const go = (vlan: number): Station => {
      const network = layer2(host, { vlan }).with({ cniVersion: '1.0.0' }, goPluginDirectory)
      const attachment = network.attach()
      return { attachment, container: attachment.container, address: giveAddress(attachment.container) }
    }
    const [same, other] = [go(100), go(200)]
    t.ok(vlansOf(same.attachment).some(({ vlan, flags }) => vlan === 100 && flags?.includes('PVID')))
    t.ok(ours.container.pings(same.address))
    assertSilent(t, ours.container, other.address, 'VLAN 200')
    layer2(host, { vlan: 100 }).adopt(same.attachment).del()
    t.notOk(host.links().includes(same.attachment.port), 'and ours removes theirs')
  }),
)
