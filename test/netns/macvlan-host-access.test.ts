/** macvlan's hostAccess: the host and its containers reach each other, nobody else notices, and all of it goes again. */

import t from 'tap'
import { hostAccessName } from '../../lib/cni/names.ts'
import {
  ask,
  deleteNamespaces,
  differences,
  repetitions,
  snapshot,
  startPeer,
  until,
  withHost,
} from '../harness/index.ts'
import { createLan, interfaceOf, lanAddresses, lanAddressing, macvlanNetwork, master } from './macvlan-fixture.ts'

const shim = hostAccessName('lannet')

t.test('the host reaches its containers and they reach it, in both families, TCP and UDP', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const one = macvlanNetwork(host, { hostAccess: true }).attach()
    await startPeer(host, host, 8080)
    await startPeer(host, one.container, 8090)
    const own = [lanAddresses.host.ipv4, lanAddresses.host.ipv6]
    for (const [index, address] of one.addresses.entries()) {
      const hostAddress = own[index] ?? ''
      for (const transport of ['tcp', 'udp'] as const) {
        t.equal(
          ask(host, transport, address, 8090),
          `${hostAddress} hello`,
          `host to container, ${transport} ${address}`,
        )
        t.equal(
          ask(one.container, transport, hostAddress),
          `${address} hello`,
          `container to host, ${transport} ${address}`,
        )
      }
      t.ok(lan.pings(address), `others reach the container, ${address}`)
      t.ok(lan.pings(hostAddress), `and the host, ${hostAddress}`)
    }
  }),
)

t.test('others on the network go on finding the host at its own MAC address alone', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const one = macvlanNetwork(host, { hostAccess: true }).attach()
    const shimMac = host.macOf(shim)
    const seen = () => lan.output(['ip', 'neigh']) + lan.output(['bridge', 'fdb', 'show', 'br', 'sw'])
    for (const address of one.addresses) t.ok(host.pings(address))
    for (const address of [lanAddresses.host.ipv4, lanAddresses.host.ipv6]) {
      lan.output(['ip', 'neigh', 'flush', 'dev', 'sw'])
      t.ok(lan.pings(address))
      t.match(lan.output(['ip', 'neigh', 'show', address]), host.macOf(master), `${address} is the master's`)
    }
    t.notMatch(seen(), shimMac, "the host's link to its containers has never been heard of")
  }),
)

t.test('there is one link for each network, listed in the result, which goes with the last container', t =>
  withHost(t, async host => {
    await createLan(host)
    const before = snapshot(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const [one, two] = [network.attach(), network.attach()]
    const [own, link] = one.result.interfaces ?? []
    t.match(
      [own, link],
      [
        { name: 'eth0', sandbox: one.container.path },
        { name: shim, mac: host.macOf(shim), mtu: 1500 },
      ],
    )
    t.equal(link?.sandbox, undefined, 'a link of the host')
    t.same(host.links().toSorted(), ['lo', shim, master].toSorted())
    t.same(host.addresses(shim), [], 'without addresses')
    one.del()
    for (const address of two.addresses) t.ok(host.pings(address), `the other is still there: ${address}`)
    t.notMatch(host.output(['ip', 'route']) + host.output(['ip', 'neigh']), `${one.address} `)
    two.del()
    t.same(differences(before, snapshot(host)), [])
  }),
)

t.test('a second network on the same master has a link of its own', t =>
  withHost(t, async host => {
    await createLan(host)
    const first = macvlanNetwork(host, { hostAccess: true })
    const ipam = {
      ...lanAddressing(host, 'ipv4'),
      ranges: [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.200', rangeEnd: '10.88.0.220' }]],
    }
    const one = first.attach()
    const two = first.with({ name: 'second', ipam }).attach()
    for (const address of [one.address, two.address]) t.ok(host.pings(address))
    one.del()
    t.ok(host.pings(two.address))
    two.del()
    t.same(host.links(), ['lo', master])
  }),
)

t.test('DEL without a result, and without a namespace, removes the routes and the link', t =>
  withHost(t, async host => {
    await createLan(host)
    const before = snapshot(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const [one, two] = [network.attach(), network.attach()]
    one.del({ withoutResult: true })
    deleteNamespaces([two.container.name])
    two.del({ withoutResult: true, netns: '' })
    two.del({ withoutResult: true, netns: '' })
    // What was in the namespace, and listened on the master, is removed by the kernel in its own time.
    await until('the master is let go', () => differences(before, snapshot(host)).length === 0)
    t.same(differences(before, snapshot(host)), [])
  }),
)

t.test('GC removes the routes of lost containers, and the link with the last', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const [lost, valid] = [network.attach(), network.attach()]
    network.gc(undefined)
    t.ok(host.pings(lost.address), 'without a list of what is valid it removes nothing')
    network.gc([valid])
    t.notMatch(host.output(['ip', 'route']), `${lost.address} `)
    t.ok(host.pings(valid.address))
    t.equal(valid.check().stdout, '')
    network.gc([])
    t.same(host.links(), ['lo', master])
  }),
)

t.test('GC removes the link although the configuration does not say hostAccess any more', t =>
  withHost(t, async host => {
    await createLan(host)
    macvlanNetwork(host, { hostAccess: true }).attach()
    macvlanNetwork(host).gc([])
    t.same(host.links(), ['lo', master])
  }),
)

t.test('CHECK finds what is missing of it', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const damages: [string, (address: string) => string, RegExp][] = [
      ['a route', () => `route flush dev ${shim}`, /^the host has lost its route to 10\.88\.0\.\d+ through/],
      [
        'a neighbour',
        address => `neigh del ${address} dev ${shim}`,
        /^the MAC address of 10\.88\.0\.\d+ on "shim.*" is none/,
      ],
      ['the link, which is down', () => `link set ${shim} down`, /is down$/],
      ['the link', () => `link del ${shim}`, /link "shim[0-9a-f]{11}" to its containers is gone$/],
    ]
    for (const [what, command, says] of damages) {
      const one = network.attach()
      t.equal(one.check().stdout, '')
      host.ip(command(one.address))
      t.match(one.check().error, { code: 105, msg: says }, what)
      one.del()
    }
    const one = network.attach()
    one.container.ip(`neigh del ${lanAddresses.host.ipv4} dev eth0`)
    t.match(one.check().error?.msg, /^the MAC address of 10\.88\.0\.250 on "eth0" is none/, "the container's neighbour")
    one.del()
    t.same(host.links(), ['lo', master])
  }),
)

t.test('when somebody has deleted the link, the next ADD makes it again, with the same address', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const one = network.attach()
    const mac = host.macOf(shim)
    host.ip(`link del ${shim}`)
    const two = network.attach()
    t.equal(host.macOf(shim), mac)
    t.ok(host.pings(two.address))
    host.ip(`link set ${shim} down`)
    network.attach()
    t.ok(host.pings(two.address) || host.output(['ip', 'route']).includes(shim), 'one that is down is brought up')
    one.del()
  }),
)

t.test('a host with an address in another subnet, and a smaller MTU in the container', t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip(`addr flush dev ${master}
addr add 192.0.2.10/24 dev ${master}
route add default via 192.0.2.1 dev ${master}`)
    const one = macvlanNetwork(host, { hostAccess: true, mtu: 1300, ipam: lanAddressing(host, 'ipv4') }).attach()
    t.equal(interfaceOf(one.container).mtu, 1300)
    await startPeer(host, one.container)
    t.equal(ask(host, 'udp', one.address), '192.0.2.10 hello')
    t.ok(
      host.execute(['ping', '-n', '-q', '-c', '1', '-W', '2', '-s', '1400', one.address]).status === 0,
      'longer than that',
    )
  }),
)

t.test('a host without an address that it could use is refused, and nothing is left', t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip(`addr flush dev ${master}`)
    const before = snapshot(host)
    const one = macvlanNetwork(host, { hostAccess: true, ipam: lanAddressing(host, 'ipv4') }).attachment()
    t.match(one.tryAdd().error, { code: 104, msg: /^the host has no address with which it could reach 10\.88\.0\.2$/ })
    t.same(one.container.links(), ['lo'])
    t.same(differences(before, snapshot(host)), [])
  }),
)

t.test('many containers come and go at the same time: every one reaches the host, and the link goes with the last', t =>
  withHost(t, async host => {
    // Emulated, the last of twenty would wait for the lock longer than an ADD does.
    const crowd = Math.max(6, repetitions(20))
    await createLan(host)
    const before = snapshot(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    for (let round = 0; round < 2; round++) {
      const attached = await network.attachAtOnce(crowd)
      t.equal(new Set(attached.map(({ address }) => address)).size, crowd)
      t.same(
        attached.filter(({ container }) => !container.pings(lanAddresses.host.ipv4)).map(({ address }) => address),
        [],
      )
      // The second half comes while the first goes.
      const more = network.attachAtOnce(crowd / 2)
      t.same(await network.detachAtOnce(attached), [])
      const late = await more
      t.same(
        late.filter(one => one.check().stdout !== '').map(({ address }) => address),
        [],
      )
      t.same(await network.detachAtOnce(late), [])
      t.same(differences(before, snapshot(host)), [])
    }
  }),
)

t.test('the routes go with a container whose namespace the kernel still clears up', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const one = network.attach()
    deleteNamespaces([one.container.name])
    one.del()
    await until('the master is free', () => host.links().length === 2, 10)
    t.same(host.links(), ['lo', master])
  }),
)

t.test('DEL succeeds while somebody holds the lock that removing the link needs, and GC removes it later', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const one = network.attach()
    const holder = host.start(['flock', '--shared', '--no-fork', host.path, 'sh', '-c', 'echo held; exec sleep 60'])
    await holder.says(/held/)
    t.match(one.del().stderr, /what containers share is left for the next DEL or GC: lock .* is held/)
    t.same(host.links().toSorted(), ['lo', shim, master].toSorted())
    t.notMatch(host.output(['ip', 'route']), `${one.address} `, 'the route is gone')
    await holder.stop('SIGKILL')
    network.gc([])
    t.same(host.links(), ['lo', master])
  }),
)
