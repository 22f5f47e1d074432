/**
 * `vlan` with `isGateway`: the gateway of a VLAN is a link of its own. Where the kernel cannot filter VLANs, what is tested
 * is that ADD says so and leaves nothing.
 */

import t, { type Test } from 'tap'
import { vlanGatewayPortName } from '../../lib/cni/names.ts'
import {
  type Attachment,
  assertSameSnapshot,
  deleteNamespaces,
  differences,
  failEveryStep,
  gateways,
  type Host,
  hostLocal,
  Network,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

const port = vlanGatewayPortName('br0', 100)

const vlanNetwork = (host: Host, keys: object = {}) =>
  new Network(host, { vlan: 100, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6), ...keys })

/** A bridge that has been up, and has had a port: the kernel then gives it a queue and other limits, for good. */
function addBridge(host: Host): void {
  host.ip(`link add br0 address 52:54:00:00:00:03 type bridge
link set br0 up
link add probe type veth peer name other
link set probe master br0
link del probe
link set br0 down`)
}

/** Whether the kernel is built with CONFIG_BRIDGE_VLAN_FILTERING. */
function filtersVlans(host: Host): boolean {
  host.ip('link add probe type bridge')
  const { status } = host.execute(['ip', 'link', 'set', 'probe', 'type', 'bridge', 'vlan_filtering', '1'])
  const filters = host.output(['ip', '-d', 'link', 'show', 'probe']).includes('vlan_filtering 1')
  host.ip('link del probe')
  return status === 0 && filters
}

function assertRefused(t: Test, attachment: Attachment): void {
  const { host } = attachment.network
  const before = snapshot(host)
  const { error } = attachment.tryAdd()
  t.equal(error?.code, 101)
  t.match(error?.msg, 'the kernel cannot filter VLANs on bridge "br0"')
  t.same(attachment.container.links(), ['lo'])
  assertSameSnapshot(t, before, snapshot(host), 'nothing is left')
}

/** Runs the test where the kernel can do it, and tests elsewhere that ADD refuses. */
function gatewayTest(name: string, use: (t: Test, host: Host) => void | Promise<void>): void {
  t.test(name, t =>
    withHost(t, async host => {
      if (filtersVlans(host)) return use(t, host)
      t.comment('the kernel lacks CONFIG_BRIDGE_VLAN_FILTERING: only the refusal is tested')
      assertRefused(t, vlanNetwork(host).attachment())
    }),
  )
}

t.test('a gateway name longer than 15 bytes is refused with code 7 before anything changes', t =>
  withHost(t, host => {
    const network = vlanNetwork(host, { bridge: 'bridge-of-12', vlan: 4000 })
    const before = snapshot(host)
    const attachment = network.attachment()
    for (const { error } of [attachment.tryAdd(), network.status()]) {
      t.equal(error?.code, 7)
      t.equal(error?.msg, 'gateway name "bridge-of-12.4000" is longer than 15 bytes')
    }
    t.same(attachment.container.links(), ['lo'])
    assertSameSnapshot(t, before, snapshot(host), 'nothing has changed')
    for (const keys of [{ vlan: 0 }, { isDefaultGateway: false }, { isDefaultGateway: false, ipam: {} }])
      t.equal(network.with(keys).status().error, undefined, `it is none with ${JSON.stringify(keys)}`)
  }),
)

t.test(
  'ADD on a bridge that was there is refused too where the kernel cannot filter, and the bridge stays as it is',
  t =>
    withHost(t, host => {
      host.ip('link add br0 type bridge')
      const attachment = vlanNetwork(host).attachment()
      if (!filtersVlans(host)) {
        assertRefused(t, attachment)
        t.equal(attachment.del().stdout, '', 'DEL of what was refused')
        return
      }
      attachment.add()
      t.match(host.output(['ip', '-d', 'link', 'show', 'br0']), 'vlan_filtering 1')
    }),
)

t.test('without an attachment, STATUS and GC are silent and change nothing', t =>
  withHost(t, host => {
    const network = vlanNetwork(host)
    const before = snapshot(host)
    t.equal(network.status().stdout, '')
    network.gc([])
    host.ip('link add br0 type bridge')
    t.equal(network.status().stdout, '')
    network.gc([])
    host.ip('link del br0')
    assertSameSnapshot(t, before, snapshot(host), 'as before')
  }),
)

t.test('another link of the gateway’s name is in the way: STATUS says 50, ADD an error, and it stays', t =>
  withHost(t, host => {
    addBridge(host)
    host.ip('link add br0.100 type veth peer name other')
    const network = vlanNetwork(host)
    const { error } = network.status()
    t.equal(error?.code, 50)
    t.match(error?.msg, '"br0.100" already exists but is not the gateway of VLAN 100 on bridge "br0"')
    const before = snapshot(host)
    const attachment = network.attachment()
    t.equal(attachment.tryAdd().error?.code, filtersVlans(host) ? 104 : 101)
    assertSameSnapshot(t, before, snapshot(host), 'nothing has changed')
    attachment.del()
    network.gc([])
    assertSameSnapshot(t, before, snapshot(host), 'nor do DEL and GC remove it')
  }),
)

t.test('a gateway of ours without any port in the VLAN, left by an ADD that was killed, goes with DEL and with GC', t =>
  withHost(t, host => {
    const network = vlanNetwork(host)
    for (const remove of [() => network.attachment().del(), () => network.gc([])]) {
      host.ip(`link add br0 type bridge\nlink add ${port} type veth peer name br0.100\nlink set ${port} master br0`)
      remove()
      t.same(host.links(), ['lo', 'br0'])
      host.ip('link del br0')
    }
  }),
)

t.test('GC without the key leaves the gateway', t =>
  withHost(t, host => {
    host.ip(`link add br0 type bridge\nlink add ${port} type veth peer name br0.100\nlink set ${port} master br0`)
    vlanNetwork(host).gc(undefined)
    t.same(host.links().toSorted(), ['br0', 'br0.100', 'lo', port].toSorted())
  }),
)

gatewayTest(
  'containers of a VLAN reach their gateway, which the result tells, and not those of another VLAN',
  (t, host) => {
    const network = vlanNetwork(host, { isDefaultGateway: true, mtu: 1400 })
    const [one, two] = [network.attach(), network.attach()]
    t.same(host.addresses('br0'), [], 'the bridge has no address')
    t.same(host.addresses('br0.100'), [`${gateways.ipv4}/24`, `${gateways.ipv6}/64`])
    const [link] = host.show('link', 'show', 'br0.100')
    for (const { result } of [one, two]) {
      t.same(result.interfaces?.map(({ name }) => name).toSpliced(1, 1), ['br0', 'eth0', 'br0.100'])
      t.strictSame(result.interfaces?.[3], { name: 'br0.100', mac: link?.address, mtu: 1400 })
      t.same(
        result.ips?.map(ip => ip.interface),
        [2, 2],
      )
    }
    for (const { container, address } of [one, two]) {
      t.ok(container.pings(gateways.ipv4))
      t.ok(container.pings(gateways.ipv6))
      t.ok(host.pings(address))
    }
    t.ok(one.container.pings(two.address))
    const layer2 = network.with({ name: 'l2', vlan: 200, isDefaultGateway: false, ipam: {} }).attach()
    layer2.container.ip('addr add 10.88.0.77/24 dev eth0')
    t.notOk(layer2.container.pings(gateways.ipv4, 0.3))
    t.notOk(layer2.container.pings(one.address, 0.3))
    t.equal(one.check().stdout, '')
    t.equal(layer2.check().stdout, '')
    t.match(host.output(['bridge', 'vlan', 'show', 'dev', port]), /\b100 PVID Egress Untagged/)
    t.notMatch(host.output(['bridge', 'vlan', 'show', 'dev', port]), /\s1 /)
  },
)

gatewayTest('the gateway goes with the last port of its VLAN, on DEL and on GC, and comes again', (t, host) => {
  const network = vlanNetwork(host)
  const other = network.with({ name: 'other', vlan: 101, ipam: hostLocal(host, '10.89.0.0/24') })
  const [one, two, third] = [network.attach(), network.attach(), other.attach()]
  one.del()
  t.ok(host.links().includes('br0.100'))
  deleteNamespaces([two.container.name])
  two.del({ netns: '', withoutResult: true })
  t.same(host.links().toSorted(), ['br0', 'br0.101', 'lo', third.port, vlanGatewayPortName('br0', 101)].toSorted())
  t.equal(third.check().stdout, '')
  const again = network.attach()
  t.ok(again.container.pings(gateways.ipv4))
  network.gc([again])
  t.equal(again.check().stdout, '')
  network.gc([])
  other.gc([])
  t.same(host.links(), ['lo', 'br0'])
})

gatewayTest('ADDs and DELs at the same time agree about the gateway', async (t, host) => {
  const network = vlanNetwork(host)
  for (let round = 0; round < 3; round++) {
    const attachments = await network.attachAtOnce(4)
    for (const attachment of attachments) {
      t.ok(attachment.container.pings(gateways.ipv4))
      t.equal(attachment.check().stdout, '')
    }
    const [kept, ...rest] = attachments
    const leaving = rest.map(one => network.start(one.request('DEL')).ended)
    const [next] = await Promise.all([network.attachAtOnce(1), ...leaving])
    t.ok(next[0]?.container.pings(gateways.ipv4))
    for (const one of [kept, ...next]) one?.del()
    t.same(host.links(), ['lo', 'br0'])
  }
})

gatewayTest(
  'ADD that fails at any step leaves the host as it was, beside another container of the VLAN or without',
  (t, host) => {
    const network = vlanNetwork(host)
    host.allowForwarding()
    for (const prepare of [() => {}, () => addBridge(host), () => network.attach()]) {
      host.execute(['ip', 'link', 'del', 'br0'])
      prepare()
      const before = snapshot(host)
      const container = host.createContainer()
      const { steps, attachment } = failEveryStep(t, network, { container }, claim =>
        t.same(differences(before, snapshot(host)), [], claim),
      )
      attachment.del()
      t.ok(steps > 5)
    }
  },
)

gatewayTest('addresses in the way are refused, or replaced with forceAddress', (t, host) => {
  const network = vlanNetwork(host)
  network.attach()
  const other = network.with({ name: 'other', ipam: hostLocal(host, '10.89.0.0/24') })
  const { error } = other.attachment().tryAdd()
  t.equal(error?.code, 104)
  t.match(error?.msg, '"br0.100" already has an IP address different from 10.89.0.1/24: 10.88.0.1/24')
  const forced = other.with({ forceAddress: true }).attach()
  t.ok(forced.container.pings('10.89.0.1'))
})

const damages: Readonly<Record<string, [RegExp, string[]]>> = {
  'the gateway is gone': [/gateway "br0.100" of VLAN 100 is gone/, ['ip', 'link', 'del', 'br0.100']],
  'the gateway is down': [/"br0.100" is down/, ['ip', 'link', 'set', 'br0.100', 'down']],
  'its port is down': [/"veth[0-9a-f]+" is down/, ['ip', 'link', 'set', port, 'down']],
  'its port has left the VLAN': [
    /VLAN 100 is gone from port .* of gateway "br0.100"/,
    ['bridge', 'vlan', 'del', 'dev', port, 'vid', '100'],
  ],
  'its port has left the bridge': [/"br0.100" already exists but is not/, ['ip', 'link', 'set', port, 'nomaster']],
  'its address is gone': [
    /"br0.100" has lost the gateway address 10.88.0.1\/24/,
    ['ip', 'addr', 'del', '10.88.0.1/24', 'dev', 'br0.100'],
  ],
}

for (const [what, [says, command]] of Object.entries(damages))
  gatewayTest(`CHECK finds that ${what}`, (t, host) => {
    const attachment = vlanNetwork(host).attach()
    host.output(command)
    t.match(attachment.check().error?.msg, says)
  })

gatewayTest('a gateway that the Go plugin has made is used, and stays', (t, host) => {
  host.ip(`link add br0 type bridge vlan_filtering 1
link set br0 up
link add br0.100 type veth peer name vethgo
link set vethgo master br0
link set vethgo up
link set br0.100 up`)
  host.output(['bridge', 'vlan', 'add', 'dev', 'vethgo', 'vid', '100', 'pvid', 'untagged'])
  const attachment = vlanNetwork(host).attach()
  t.ok(attachment.container.pings(gateways.ipv4))
  t.equal(attachment.check().stdout, '')
  attachment.del()
  t.same(host.links().toSorted(), ['br0', 'br0.100', 'lo', 'vethgo'])
})
