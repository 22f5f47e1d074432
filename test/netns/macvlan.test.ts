/** What macvlan's ADD builds: modes, masters, addresses, what others on the network see of it. With packets. */

import t from 'tap'
import { type Attachment, withHost } from '../harness/index.ts'
import { createLan, interfaceOf, lanAddresses, lanAddressing, macvlanNetwork, master } from './macvlan-fixture.ts'

const gateways = [lanAddresses.gateway.ipv4, lanAddresses.gateway.ipv6]

/** Whether both addresses of a container are answered for. */
const reaches = (from: Attachment, to: Attachment, seconds = 2) =>
  to.addresses.every(address => from.container.pings(address, seconds))

t.test('mode bridge, the default: containers reach one another, the network and its gateway, in both families', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const network = macvlanNetwork(host)
    const [one, two] = [network.attach(), network.attach()]
    t.equal(interfaceOf(one.container).linkinfo.info_data.mode, 'bridge')
    t.ok(reaches(one, two) && reaches(two, one), 'the other container')
    for (const address of gateways) t.ok(one.container.pings(address), `the gateway ${address}`)
    for (const address of one.addresses) t.ok(lan.pings(address), `from the network: ${address}`)
    t.notOk(host.pings(one.address, 1), 'but not the host, which the kernel keeps apart')
    one.del()
    two.del()
    t.same([...one.container.links(), ...two.container.links()], ['lo', 'lo'])
  }),
)

t.test('mode private: the network, but no other container, not even if the switch sends frames back', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    lan.output(['bridge', 'link', 'set', 'dev', 'port', 'hairpin', 'on'])
    const network = macvlanNetwork(host, { mode: 'private' })
    const [one, two] = [network.attach(), network.attach()]
    t.equal(interfaceOf(one.container).linkinfo.info_data.mode, 'private')
    for (const address of gateways) t.ok(one.container.pings(address), `the gateway ${address}`)
    for (const address of two.addresses) t.notOk(one.container.pings(address, 1), `the other container ${address}`)
  }),
)

t.test('mode vepa: other containers by way of the switch, when that sends frames back', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const network = macvlanNetwork(host, { mode: 'vepa' })
    const [one, two] = [network.attach(), network.attach()]
    t.equal(interfaceOf(one.container).linkinfo.info_data.mode, 'vepa')
    t.notOk(one.container.pings(two.address, 1), 'a switch that does not')
    lan.output(['bridge', 'link', 'set', 'dev', 'port', 'hairpin', 'on'])
    for (const { container } of [one, two]) container.output(['ip', 'neigh', 'flush', 'all'])
    t.ok(reaches(one, two), 'a switch that does')
  }),
)

t.test('mode passthru: the container has the master, and its MAC address, for itself', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const network = macvlanNetwork(host, { mode: 'passthru' })
    const one = network.attach({ containerId: 'first' })
    const [{ address: masterMac } = { address: '' }] = host.show<{ address: string }[]>('link', 'show', 'dev', master)
    t.equal(interfaceOf(one.container).address, masterMac)
    t.equal(one.result.interfaces?.[0]?.mac, masterMac, 'as the result says')
    for (const address of gateways) t.ok(one.container.pings(address), `the gateway ${address}`)
    for (const address of one.addresses) t.ok(lan.pings(address), `from the network: ${address}`)

    for (const mode of ['passthru', 'bridge']) {
      const second = network.with({ mode, name: 'other' }).attachment()
      const { error } = second.tryAdd()
      t.equal(error?.code, 104, `a second container in mode ${mode} is refused`)
      t.match(error?.msg, /^master "uplink" is taken in passthru mode by macvlan "eth0" of container "first" in /)
      t.match(error?.msg, new RegExp(`in network "lannet" \\(namespace "${one.container.path}"\\)$`))
      t.same(second.container.links(), ['lo'])
    }
    one.del()
    network.with({ mode: 'bridge' }).attach().del()
  }),
)

t.test('mode passthru is refused on a master that is in use, whoever uses it, and the user is named', t =>
  withHost(t, async host => {
    await createLan(host)
    const bridge = macvlanNetwork(host).attach({ containerId: 'first' })
    const network = macvlanNetwork(host, { mode: 'passthru', name: 'whole' })
    const { error } = network.attachment().tryAdd()
    t.match(error, {
      code: 104,
      msg: /^mode "passthru" needs master "uplink" for itself, .*container "first" in network/,
    })
    bridge.del()
    host.ip(`link add link ${master} name foreign type macvlan mode bridge`)
    t.match(network.attachment().tryAdd().error?.msg, /in use by macvlan "foreign" \(namespace "/)
  }),
)

t.test('mode passthru with a MAC address gives it to the master, until DEL', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const macOfMaster = () => host.show<{ address: string }[]>('link', 'show', 'dev', master)[0]?.address
    const before = macOfMaster()
    const mac = '02:00:00:00:00:05'
    const one = macvlanNetwork(host, { mode: 'passthru', mac }).attach()
    t.equal(one.result.interfaces?.[0]?.mac, mac)
    t.same([interfaceOf(one.container).address, macOfMaster()], [mac, mac])
    t.ok(lan.pings(one.address))
    one.del()
    t.equal(macOfMaster(), before)
  }),
)

t.test('the master is by default that of the default route: IPv4, and where there is none, IPv6', t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip('link add other type veth peer name other-end\nlink set other up\nlink set other-end up')
    const network = macvlanNetwork(host, { master: '' })
    t.match(network.attachment().tryAdd().error, {
      code: 109,
      msg: /^no "master" is given, and there is no default route/,
    })
    host.ip('route add ::/0 dev other')
    const onOther = network.attach()
    t.notOk(onOther.container.pings(lanAddresses.gateway.ipv4, 1), "IPv6's default route leads elsewhere")
    host.ip(`route add default via ${lanAddresses.gateway.ipv4} dev ${master} metric 50
addr add 192.0.2.1/24 dev other
route add default via 192.0.2.2 dev other metric 100`)
    t.ok(network.attach().container.pings(lanAddresses.gateway.ipv4), "IPv4's wins, and of these the one that is used")
  }),
)

t.test('the master in the container: linkInContainer', t =>
  withHost(t, host => {
    const container = host.createContainer()
    container.ip('link add inner type veth peer name inner-end\nlink set inner up\nlink set inner-end up')
    const missing = macvlanNetwork(host, { master: 'uplink', linkInContainer: true }).attachment({ container })
    t.match(missing.tryAdd().error, { code: 109, msg: 'master "uplink" does not exist in the container' })
    const network = macvlanNetwork(host, { master: 'inner', linkInContainer: true })
    const one = network.attach({ container })
    t.equal(interfaceOf(container).linkinfo.info_kind, 'macvlan')
    t.equal(one.check().stdout, '')
    one.del()
    container.ip('route add default dev inner')
    const byRoute = network.with({ master: undefined }).attach({ container })
    t.equal(byRoute.check().stdout, '')
    byRoute.del()
    t.same(container.links().toSorted(), ['inner', 'inner-end', 'lo'])
  }),
)

t.test('a bridge, and a macvlan of the host, can be masters', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    host.ip(`addr flush dev ${master}
link add br9 type bridge
link set ${master} master br9
link set br9 up`)
    const onBridge = macvlanNetwork(host, { master: 'br9' }).attach()
    t.ok(lan.pings(onBridge.address), 'a bridge')
    t.equal(onBridge.check().stdout, '')
    onBridge.del()
    host.ip(
      `link set ${master} nomaster\nlink add link ${master} name upper type macvlan mode bridge\nlink set upper up`,
    )
    const onMacvlan = macvlanNetwork(host, { master: 'upper' }).attach()
    t.ok(lan.pings(onMacvlan.address), 'a macvlan')
    t.equal(onMacvlan.check().stdout, '')
  }),
)

t.test('a master that is down: ADD succeeds and says so on standard error, and STATUS fails', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host)
    t.equal(network.status().status, 0)
    host.ip(`link set ${master} down`)
    const { error } = network.status()
    t.match(error, { code: 50, msg: /^master "uplink" is down/, details: '"ip link set uplink up" brings it up' })
    const one = network.attachment()
    const { stderr } = one.add()
    t.match(stderr, /^macvlan: network "lannet": master "uplink" is down: nothing reaches the container/)
    const through = ['/bin/bash', '-c', 'exec "$0" 2>/dev/full']
    t.equal(network.run({ ...network.attachment().request('ADD'), through }).status, 0, 'also where nobody reads it')
    host.ip(`link set ${master} up`)
    t.ok(one.container.pings(lanAddresses.gateway.ipv4, 5), 'when it comes up, so does the container')
  }),
)

t.test('an ADD that is repeated is refused, and does not harm the first', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const network = macvlanNetwork(host)
    const one = network.attach()
    t.match(one.tryAdd().error, { code: 104, msg: /^interface "eth0" already exists/ })
    t.ok(lan.pings(one.address))
    const elsewhere = network
      .with({ name: 'other' })
      .attachment({ container: one.container, containerId: one.containerId })
    t.equal(elsewhere.tryAdd().error?.code, 104, 'also as that of another network')
    elsewhere.del()
    t.ok(lan.pings(one.address), 'whose DEL, which runtimes then ask for, does not remove it')
    t.equal(one.check().stdout, '')
  }),
)

/** Masters differ in kind and in number on real hosts; containers of several networks share them. */
t.test('several networks on one master, and one container in several', t =>
  withHost(t, async host => {
    await createLan(host)
    const one = macvlanNetwork(host).attach()
    const again = macvlanNetwork(host, { name: 'second', ipam: lanAddressing(host, 'ipv4') }).attach({
      container: one.container,
      containerId: one.containerId,
      ifname: 'eth1',
    })
    t.same(one.container.links(), ['lo', 'eth0', 'eth1'])
    again.del()
    t.same(one.container.links(), ['lo', 'eth0'])
    t.ok(one.container.pings(lanAddresses.gateway.ipv4))
  }),
)
