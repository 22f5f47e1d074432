/** What the bridge plugin makes of links: MTU, MAC addresses, port settings, networks without addresses. */

import t from 'tap'
import { cniVersions } from '../../lib/cni/types.ts'
import {
  type Attachment,
  assertSameSnapshot,
  differences,
  gateways,
  type Host,
  hostLocal,
  Network,
  type NetworkNamespace,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

interface LinkShown {
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly linkinfo?: { readonly info_slave_data?: Readonly<Record<string, unknown>> }
}

function link(inside: NetworkNamespace, name: string): LinkShown {
  const [shown] = inside.show<LinkShown[]>('link', 'show', 'dev', name)
  if (shown === undefined) throw new Error(`no link ${name}`)
  return shown
}

const portSetting = (host: Host, { port }: Attachment, name: string) =>
  link(host, port).linkinfo?.info_slave_data?.[name]
const layer2 = { isDefaultGateway: false, ipam: {} }

t.test('mtu is that of both ends and of the bridge, and the result tells it', t =>
  withHost(t, host => {
    const { container, port, result } = new Network(host, { mtu: 1400 }).attach()
    for (const [inside, name] of [
      [host, 'br0'],
      [host, port],
      [container, 'eth0'],
    ] as const)
      t.equal(link(inside, name).mtu, 1400, name)
    t.same(
      result.interfaces?.map(({ mtu }) => mtu),
      [1400, 1400, 1400],
    )
    t.notOk(
      container.execute(['ping', '-c1', '-W0.2', '-Mdo', '-s1373', gateways.ipv4]).status === 0,
      '1401 bytes do not fit',
    )
    t.ok(container.execute(['ping', '-c1', '-W1', '-Mdo', '-s1372', gateways.ipv4]).status === 0, '1400 do')
    const other = new Network(host, { name: 'other', bridge: 'br1', ...layer2 }).attach()
    t.equal(link(other.container, 'eth0').mtu, 1500, 'the default is the kernel’s')
  }),
)

t.test('the MAC address comes from runtimeConfig before args.cni before CNI_ARGS', t =>
  withHost(t, host => {
    const mac = (last: string) => `02:00:00:00:00:${last}`
    const runtime = { runtimeConfig: { mac: mac('aa') } }
    const args = { args: { cni: { mac: mac('BB') } } }
    const cases: [string, object, string | undefined, string][] = [
      ['runtimeConfig', { ...runtime, ...args }, `IgnoreUnknown=1;MAC=${mac('cc')}`, mac('aa')],
      ['args.cni', args, `MAC=${mac('cc')}`, mac('bb')],
      ['CNI_ARGS', {}, `MAC=${mac('cc')}`, mac('cc')],
      ['keys in another case', { RuntimeConfig: { MAC: mac('dd') } }, undefined, mac('dd')],
    ]
    const network = new Network(host)
    for (const [claim, config, given, expected] of cases) {
      const attachment = network.attach({ config, ...(given === undefined ? {} : { args: given }) })
      t.equal(link(attachment.container, 'eth0').address, expected, claim)
      t.equal(attachment.result.interfaces?.[2]?.mac, expected)
      t.equal(attachment.check().stdout, '')
      attachment.del()
    }
  }),
)

t.test("the bridge's MAC address is its own and stays when ports come and go", t =>
  withHost(t, host => {
    const network = new Network(host)
    const first = network.attach()
    const { address } = link(host, 'br0')
    const others = [network.attach(), network.attach(), network.attach()]
    t.notOk([first, ...others].some(({ port }) => link(host, port).address === address))
    t.equal(link(host, 'br0').address, address, 'after more have come')
    for (const attachment of [first, ...others]) attachment.del()
    t.equal(link(host, 'br0').address, address, 'after all have gone')
    const again = network.attach()
    t.equal(again.result.interfaces?.[0]?.mac, address)
  }),
)

t.test('a bridge that was made without a MAC address gets one before its first port comes', t =>
  withHost(t, host => {
    host.ip('link add br0 type bridge\nlink set br0 up')
    const { address } = link(host, 'br0')
    const network = new Network(host)
    const attachments = [network.attach(), network.attach(), network.attach()]
    for (const { result } of attachments) t.equal(result.interfaces?.[0]?.mac, address)
    t.equal(link(host, 'br0').address, address)
    for (const attachment of attachments) attachment.del()
    t.equal(link(host, 'br0').address, address)
  }),
)

t.test('a bridge with the address of another port keeps it', t =>
  withHost(t, host => {
    host.ip(`link add br0 type bridge
link add uplink address 52:54:00:00:00:01 type veth peer name switch
link set uplink master br0
link set br0 up`)
    const attachment = new Network(host).attach()
    t.equal(attachment.result.interfaces?.[0]?.mac, '52:54:00:00:00:01')
    t.equal(link(host, 'br0').address, '52:54:00:00:00:01')
  }),
)

t.test('the host does not take routes from its containers', t =>
  withHost(t, host => {
    new Network(host).attach()
    t.equal(host.output(['cat', '/proc/sys/net/ipv6/conf/br0/accept_ra']).trim(), '0')
  }),
)

/** Two namespaces behind one port, whose frames to each other the bridge has to send back where they came from. */
function pingBehindOnePort(host: Host, { container }: Attachment): boolean {
  const [left, right] = host.createContainers(2, 'nested')
  if (left === undefined || right === undefined) throw new Error('no namespaces')
  for (const [index, inner] of [left, right].entries()) {
    container.ip(`link add link eth0 name inner netns ${inner.name} type macvlan mode vepa`)
    inner.ip(`addr add 10.89.0.${index + 1}/24 dev inner\nlink set inner up`)
  }
  return left.pings('10.89.0.2', 0.3)
}

t.test('hairpinMode sends frames back to the port that they came from', t =>
  withHost(t, host => {
    const network = new Network(host)
    const straight = network.attach()
    const hairpin = network.with({ hairpinMode: true }).attach()
    t.equal(portSetting(host, straight, 'hairpin'), false)
    t.equal(portSetting(host, hairpin, 'hairpin'), true)
    t.notOk(pingBehindOnePort(host, straight))
    t.ok(pingBehindOnePort(host, hairpin))
  }),
)

t.test('promiscMode makes the bridge promiscuous, also one that was there', t =>
  withHost(t, host => {
    const network = new Network(host)
    const plain = network.attach()
    t.notOk(link(host, 'br0').flags.includes('PROMISC'))
    const promiscuous = network.with({ promiscMode: true })
    const attachment = promiscuous.attach()
    t.ok(link(host, 'br0').flags.includes('PROMISC'))
    t.equal(attachment.check().stdout, '')
    t.equal(plain.check().stdout, '', 'a network that does not ask for it does not mind')
  }),
)

t.test('portIsolation: two isolated ports do not reach each other, but the host and others do', t =>
  withHost(t, host => {
    const network = new Network(host)
    const open = network.attach()
    const isolated = network.with({ portIsolation: true })
    const [one, two] = [isolated.attach(), isolated.attach()]
    t.equal(portSetting(host, one, 'isolated'), true)
    t.notOk(one.container.pings(two.address, 0.3))
    for (const { container } of [one, two]) {
      t.ok(container.pings(gateways.ipv4))
      t.ok(container.pings(open.address))
    }
    t.equal(one.check().stdout, '')
  }),
)

t.test('disableContainerInterface leaves the interface down', t =>
  withHost(t, host => {
    const attachment = new Network(host, { ...layer2, disableContainerInterface: true }).attach()
    t.notOk(link(attachment.container, 'eth0').flags.includes('UP'))
    t.ok(link(host, attachment.port).flags.includes('UP'), 'the host end is up')
    t.equal(attachment.check().stdout, '')
  }),
)

for (const cniVersion of cniVersions)
  t.test(`a network without addresses, cniVersion ${cniVersion}`, t =>
    withHost(t, host => {
      const network = new Network(host, { ...layer2, cniVersion })
      const before = snapshot(host)
      const attachment = network.attachment()
      const { result, error } = attachment.tryAdd()
      if (cniVersion === '0.1.0' || cniVersion === '0.2.0') {
        t.equal(error?.msg, 'cannot convert: no valid IP addresses')
        assertSameSnapshot(t, before, snapshot(host), 'nothing is left')
        t.same(attachment.container.links(), ['lo'])
        return
      }
      t.same(
        result?.interfaces?.map(({ name }) => name),
        ['br0', attachment.port, 'eth0'],
      )
      t.notOk(result?.ips?.length)
      t.notOk(result?.routes?.length)
      const neighbour = network.attach()
      attachment.container.ip('addr add 10.89.0.1/24 dev eth0')
      neighbour.container.ip('addr add 10.89.0.2/24 dev eth0')
      t.ok(attachment.container.pings('10.89.0.2'), 'frames pass')
      if (cniVersion !== '0.3.0' && cniVersion !== '0.3.1') t.equal(neighbour.check().stdout, '')
      for (const { del } of [attachment, neighbour].map(one => ({ del: () => one.del() }))) del()
      t.same(
        differences(before, snapshot(host)).filter(line => !line.includes('br0')),
        [],
      )
    }),
  )

t.test('macspoofchk drops frames with a source that is not the container’s', t =>
  withHost(t, host => {
    const network = new Network(host, { macspoofchk: true })
    const checked = network.attach()
    const free = network.with({ macspoofchk: false }).attach()
    const { address } = link(checked.container, 'eth0')
    const pretend = ({ container }: Attachment, mac: string) => container.ip(`link set eth0 address ${mac}`)
    t.ok(checked.container.pings(gateways.ipv4))
    pretend(checked, '02:00:00:00:00:99')
    t.notOk(checked.container.pings(gateways.ipv4, 0.3), 'to the host')
    t.notOk(checked.container.pings(free.address, 0.3), 'to the neighbour')
    pretend(checked, address)
    t.ok(checked.container.pings(gateways.ipv4), 'with its own address again')
    pretend(free, '02:00:00:00:00:98')
    t.ok(free.container.pings(gateways.ipv4), 'others are not concerned')
    t.equal(checked.check().stdout, '')
    checked.del()
    t.notMatch(
      host.output(['nft', 'list', 'ruleset']),
      new RegExp(`${address}|${checked.port}`),
      'DEL removes what names the container',
    )
  }),
)

t.test('macspoofchk together with masquerade passes CHECK and DEL', t =>
  withHost(t, host => {
    const ipam = hostLocal(host, subnets.ipv4, subnets.ipv6)
    const attachment = new Network(host, { macspoofchk: true, ipMasq: true, ipam }).attach()
    t.equal(attachment.check().stdout, '')
    attachment.del()
    attachment.del()
  }),
)

/** Whether the kernel is built with CONFIG_BRIDGE_VLAN_FILTERING. */
function filtersVlans(host: Host): boolean {
  host.ip('link add probe type bridge')
  host.execute(['ip', 'link', 'set', 'probe', 'type', 'bridge', 'vlan_filtering', '1'])
  const filters = host.output(['ip', '-d', 'link', 'show', 'probe']).includes('vlan_filtering 1')
  host.ip('link del probe')
  return filters
}

for (const [key, keys] of Object.entries({
  vlan: { vlan: 100 },
  vlanTrunk: { vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 210 }] },
}))
  t.test(`${key}: the port is in its VLANs, or the kernel cannot do it, which ADD says and leaves nothing`, t =>
    withHost(t, host => {
      const attachment = new Network(host, { ...layer2, ...keys }).attachment()
      if (filtersVlans(host)) {
        attachment.add()
        const vlans = host.output(['bridge', '-compressvlans', 'vlan', 'show', 'dev', attachment.port])
        t.match(vlans, key === 'vlan' ? /\b100 PVID Egress Untagged/ : /\b101\b[\s\S]*\b200-210\b/)
        t.equal(attachment.check().stdout, '')
        return
      }
      const before = snapshot(host)
      const { error } = attachment.tryAdd()
      t.equal(error?.code, 101)
      t.match(error?.msg, /kernel cannot filter VLANs on bridge "br0"/)
      t.match(error?.details, /CONFIG_BRIDGE_VLAN_FILTERING/)
      t.same(attachment.container.links(), ['lo'])
      assertSameSnapshot(t, before, snapshot(host), 'nothing is left')
      attachment.del()
    }),
  )
