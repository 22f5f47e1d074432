/** macvlan's DEL, CHECK, GC and STATUS, whatever has become of the attachment meanwhile. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type Attachment,
  deleteNamespaces,
  differences,
  goPluginDirectory,
  type Host,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { createLan, interfaceOf, lanAddressing, macvlanNetwork, master } from './macvlan-fixture.ts'

const reserved = (host: Host) =>
  readdirSync(join(host.dataDirectory, 'lannet')).filter(name => /^[\da-f]+[.:]/.test(name))

const losses: Readonly<Record<string, (host: Host, one: Attachment) => { netns?: string } | undefined>> = {
  nothing: () => undefined,
  'the master': host => {
    host.ip(`link del ${master}`)
    return undefined
  },
  'the interface': (_, { container }) => {
    container.ip('link del eth0')
    return undefined
  },
  'the namespace': (_, { container }) => {
    deleteNamespaces([container.name])
    return undefined
  },
  'the namespace and its name': (_, { container }) => {
    deleteNamespaces([container.name])
    return { netns: '' }
  },
  'namespace and master': (host, { container }) => {
    deleteNamespaces([container.name])
    host.ip(`link del ${master}`)
    return { netns: '' }
  },
}

for (const [what, lose] of Object.entries(losses))
  t.test(`DEL succeeds, twice, with and without a result, when what is gone is ${what}`, t =>
    withHost(t, async host => {
      await createLan(host)
      const one = macvlanNetwork(host, { hostAccess: true }).attach()
      t.equal(reserved(host).length, 2)
      const options = lose(host, one) ?? {}
      one.del({ ...options, withoutResult: true })
      t.same(reserved(host), [], 'the addresses are free')
      one.del(options)
      t.notOk(host.links().some(name => name.startsWith('shim')))
    }),
  )

t.test("DEL removes nothing that is not the attachment's", t =>
  withHost(t, async host => {
    await createLan(host)
    const container = host.createContainer()
    container.ip('link add eth0 type veth peer name other')
    macvlanNetwork(host).attachment({ container }).del()
    t.same(container.links().toSorted(), ['eth0', 'lo', 'other'])
  }),
)

t.test('DEL of an attachment that never was succeeds', t =>
  withHost(t, async host => {
    await createLan(host)
    macvlanNetwork(host).attachment().del()
    macvlanNetwork(host, { master: 'nowhere.5', hostAccess: true }).attachment().del()
  }),
)

t.test('CHECK finds what somebody has changed', t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip('link add other type veth peer name other-end\nlink set other up')
    const damages: [string, (one: Attachment) => unknown, RegExp][] = [
      ['the interface is gone', one => one.container.ip('link del eth0'), /^interface "eth0" is gone/],
      ['it is down', one => one.container.ip('link set eth0 down'), /^interface "eth0" is down$/],
      [
        'another MAC address',
        one => one.container.ip('link set eth0 address 02:00:00:00:00:99'),
        /has MAC 02:00:00:00:00:99/,
      ],
      ['another MTU', one => one.container.ip('link set eth0 mtu 1280'), /has an MTU of 1280, not 1400$/],
      [
        'another mode',
        one => one.container.ip('link set eth0 type macvlan mode vepa'),
        /is in mode "vepa", not "bridge"$/,
      ],
      [
        'an IPv4 address',
        one => one.container.ip(`addr del ${one.address}/24 dev eth0`),
        /^address 10\.88\.0\.\d+\/24 is gone/,
      ],
      [
        'an IPv6 address',
        one => one.container.ip(`addr del ${one.addresses[1]}/64 dev eth0`),
        /^address fd00:88::.*\/64 is gone/,
      ],
      ['the default route', one => one.container.ip('route del default'), /^route to 0\.0\.0\.0\/0 is gone/],
      [
        'a link of another kind',
        one => one.container.ip('link del eth0\nlink add eth0 type veth peer name x\nlink set eth0 up'),
        /^interface "eth0" is of kind "veth", not "macvlan"$/,
      ],
      ['a master that is down', () => host.ip(`link set ${master} down`), /^master "uplink" is down$/],
    ]
    const network = macvlanNetwork(host, { mtu: 1400 })
    for (const [what, damage, says] of damages) {
      const one = network.attach()
      t.equal(one.check().stdout, '', `before: ${what}`)
      damage(one)
      t.match(one.check().error, { code: 105, msg: says }, what)
      one.del()
      host.ip(`link set ${master} up`)
    }
    const one = network.attach()
    const moved = network.with({ master: 'other' })
    t.match(moved.adopt(one).check().error?.msg, /^interface "eth0" is not on master "other"$/)
    t.match(network.with({ master: 'nowhere' }).adopt(one).check().error?.msg, /^master "nowhere" is gone$/)
  }),
)

t.test('CHECK accepts what later plugins of a chain may add', t =>
  withHost(t, async host => {
    await createLan(host)
    const one = macvlanNetwork(host).attach()
    one.container.ip('addr add 192.0.2.7/32 dev eth0\nroute add 198.51.100.0/24 dev eth0\nlink set eth0 txqueuelen 5')
    t.equal(one.check().stdout, '')
  }),
)

t.test("GC frees the addresses of lost containers, and leaves the others' alone", t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host)
    const [lost, valid] = [network.attach(), network.attach()]
    deleteNamespaces([lost.container.name])
    network.gc([valid])
    t.same(reserved(host).toSorted(), valid.addresses.toSorted())
    t.equal(valid.check().stdout, '')
  }),
)

t.test('STATUS tells what keeps ADD from working, with what to do about it', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host)
    t.equal(network.status().status, 0)
    t.equal(
      network.status({ linkInContainer: true, master: 'inner' }).status,
      0,
      'what is in a container is not known yet',
    )
    const before = snapshot(host)
    const expected: [object, number, RegExp][] = [
      [{ master: 'nowhere' }, 50, /^master "nowhere" does not exist on the host$/],
      [{ master: 'nowhere.10' }, 50, /^master "nowhere" does not exist on the host$/],
      [
        { master: 'uplink.5000' },
        7,
        /^master "uplink\.5000" does not exist and cannot be made: VLAN 5000 is not between/,
      ],
      [{ master: undefined }, 50, /^no "master" is given, and there is no default route on the host$/],
      [{ master: 'lo' }, 7, /^master "lo" is the loopback interface$/],
      [{ mtu: 1501 }, 7, /^mtu 1501 is above that of master "uplink", 1500$/],
    ]
    for (const [keys, code, msg] of expected) t.match(network.status(keys).error, { code, msg }, JSON.stringify(keys))
    t.same(differences(before, snapshot(host)), [], 'STATUS changes nothing')
    host.ip(`link add br9 type bridge\nlink set ${master} master br9`)
    t.match(network.status().error, {
      code: 50,
      msg: 'master "uplink" is a port of bridge "br9", which takes all of its frames',
    })
    t.match(network.attachment().tryAdd().error, { code: 104, details: /name "br9" itself as "master"/ })
  }),
)

t.test('STATUS tells an exhausted pool', t =>
  withHost(t, async host => {
    await createLan(host)
    const ipam = { ...lanAddressing(host, 'ipv4'), ranges: [[{ subnet: '10.88.0.0/30' }]] }
    const network = macvlanNetwork(host, { ipam })
    network.attach()
    t.equal(network.status().error?.code, 50)
  }),
)

const versionOfGo = { cniVersion: '1.0.0' }

t.test('beside the Go plugin: the same configuration, and either deletes and accepts what the other has made', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const ipam = lanAddressing(host, 'ipv4')
    const ours = macvlanNetwork(host, { ...versionOfGo, ipam })
    const theirs = ours.with({}, goPluginDirectory)
    const before = snapshot(host)
    for (const [maker, other, who] of [
      [ours, theirs, 'made by ours'],
      [theirs, ours, 'made by Go'],
    ] as const) {
      const one = maker.attach()
      t.ok(lan.pings(one.address), who)
      t.equal(other.adopt(one).check().stdout, '', `${who}: CHECK of the other`)
      other.adopt(one).del()
      t.same(one.container.links(), ['lo'], who)
      t.same(reserved(host), [], who)
    }
    t.same(differences(before, snapshot(host)), [])
    const [one, two] = [ours.attach(), theirs.attach()]
    t.ok(one.container.pings(two.address), 'containers of both reach each other')
  }),
)

t.test('the results of both are the same but for MAC and what is drawn', t =>
  withHost(t, async host => {
    await createLan(host)
    const ipam = lanAddressing(host, 'ipv4')
    const container = host.createContainer()
    const mac = '02:00:00:00:00:0b'
    const network = macvlanNetwork(host, { ...versionOfGo, ipam, mac, mtu: 1400, dns: { nameservers: ['192.0.2.1'] } })
    const resultOf = (directory?: string) => {
      const side = directory === undefined ? network : network.with({}, directory)
      const one = side.attach({ container, containerId: 'same' })
      const { mode } = interfaceOf(container).linkinfo.info_data
      one.del()
      return { ...one.result, mode, ips: one.result.ips?.map(ip => ({ ...ip, address: 'drawn' })) }
    }
    t.same(resultOf(), resultOf(goPluginDirectory))
  }),
)
