/** macvlan on VLANs that it makes itself, on a kernel that has 802.1Q: with packets, and gone with the last user. */

import t from 'tap'
import {
  deleteNamespaces,
  differences,
  failEveryStep,
  goPluginDirectory,
  type Host,
  type NetworkNamespace,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { macvlanNetwork, master } from '../netns/macvlan-fixture.ts'

const vlan = `${master}.10`

/** The host's uplink leads to a router with an address in VLAN 10, another in VLAN 20, and a third in neither. */
function createTrunk(host: Host): NetworkNamespace {
  const router = host.createNamespace('router')
  host.ip(`link add ${master} type veth peer name trunk netns ${router.name}\nlink set ${master} up`)
  router.ip(`link set trunk up
addr add 10.88.0.1/24 dev trunk
link add link trunk name trunk.10 type vlan id 10
link add link trunk name trunk.20 type vlan id 20
link set trunk.10 up
link set trunk.20 up
addr add 10.88.10.1/24 dev trunk.10
addr add 10.88.20.1/24 dev trunk.20`)
  return router
}

const network = (host: Host, id = 10, keys: object = {}) =>
  macvlanNetwork(host, {
    name: `vlan${id}`,
    master: `${master}.${id}`,
    ipam: {
      type: 'host-local',
      dataDir: host.dataDirectory,
      subnet: `10.88.${id}.0/24`,
      routes: [{ dst: '0.0.0.0/0' }],
    },
    ...keys,
  })

const links = (host: Host): string[] => host.links().filter(name => name !== 'lo' && name !== master)

t.test('the VLAN is made, carries the tagged traffic of its containers and no other, and goes with the last', t =>
  withHost(t, host => {
    const router = createTrunk(host)
    const before = snapshot(host)
    const ten = network(host)
    const [one, two] = [ten.attach(), ten.attach()]
    t.same(links(host), [vlan])
    const [made] = host.show<{ ifalias: string; flags: string[]; linkinfo: { info_data: { id: number } } }[]>(
      ...['link', 'show', 'dev', vlan],
    )
    t.match(made, { ifalias: `cnikit: VLAN 10 of ${master} for macvlan`, linkinfo: { info_data: { id: 10 } } })
    t.ok(made?.flags.includes('UP'))
    t.ok(one.container.pings('10.88.10.1', 5), 'the router in the VLAN')
    t.ok(one.container.pings(two.address), 'the other container')
    t.ok(router.pings(one.address), 'from the router')
    t.equal(one.check().stdout, '')

    const other = network(host, 20).attach()
    t.ok(other.container.pings('10.88.20.1', 5), 'another VLAN')
    one.container.ip('addr add 10.88.20.200/24 dev eth0')
    t.notOk(one.container.pings(other.address, 1), 'which is apart')
    other.del()
    t.same(links(host), [vlan], 'each goes with its own last container')

    one.del()
    t.same(links(host), [vlan])
    two.del()
    t.same(differences(before, snapshot(host)), [])
  }),
)

t.test('a VLAN that an administrator has made is used, and stays', t =>
  withHost(t, host => {
    createTrunk(host)
    host.ip(`link add link ${master} name ${vlan} type vlan id 10\nlink set ${vlan} up`)
    const one = network(host).attach()
    t.ok(one.container.pings('10.88.10.1', 5))
    one.del()
    t.same(links(host), [vlan])
  }),
)

const users: Readonly<Record<string, (host: Host) => () => void>> = {
  'a container of another network': host => {
    const one = network(host, 10, { name: 'another' }).attach()
    return () => one.del()
  },
  'a container of the Go plugin': host => {
    const one = network(host, 10, { name: 'gonet', cniVersion: '1.0.0' }).with({}, goPluginDirectory).attach()
    return () => one.del()
  },
  'a container whose interface is down': host => {
    const one = network(host, 10, { name: 'another' }).attach()
    one.container.ip('link set eth0 down')
    return () => one.del()
  },
  'an address of the host': host => {
    host.ip(`addr add 10.88.10.5/24 dev ${vlan}`)
    return () => host.ip(`addr del 10.88.10.5/24 dev ${vlan}`)
  },
  'a VLAN within it': host => {
    host.ip(`link add link ${vlan} name inner type vlan id 5`)
    return () => host.ip('link del inner')
  },
}

for (const [user, use] of Object.entries(users))
  t.test(`the VLAN stays while it is used by ${user}, and GC removes it afterwards`, t =>
    withHost(t, host => {
      createTrunk(host)
      const ten = network(host)
      const one = ten.attach()
      const leave = use(host)
      one.del()
      t.ok(host.links().includes(vlan), 'it stays')
      ten.gc([])
      t.ok(host.links().includes(vlan), 'and GC leaves it')
      leave()
      ten.gc([])
      t.notOk(host.links().includes(vlan))
    }),
  )

t.test('the VLAN goes when the last container has lost its namespace before DEL', t =>
  withHost(t, host => {
    createTrunk(host)
    const one = network(host).attach()
    deleteNamespaces([one.container.name])
    one.del({ netns: '' })
    t.same(links(host), [])
  }),
)

t.test('a failure at any step of ADD leaves no VLAN', t =>
  withHost(t, host => {
    createTrunk(host)
    const container = host.createContainer()
    const before = snapshot(host)
    failEveryStep(t, network(host), { container }, claim => t.same(differences(before, snapshot(host)), [], claim))
  }),
)

t.test('5 containers come while 5 go: each has its VLAN, which goes with the last', t =>
  withHost(t, async host => {
    createTrunk(host)
    const ten = network(host)
    const going = await ten.attachAtOnce(5)
    const coming = ten.attachAtOnce(5)
    t.same(await ten.detachAtOnce(going), [])
    const there = await coming
    t.same(
      there.filter(one => !one.container.pings('10.88.10.1', 5)).map(({ address }) => address),
      [],
    )
    t.same(await ten.detachAtOnce(there), [])
    t.same(links(host), [])
  }),
)

t.test('passthru and host access on a VLAN', t =>
  withHost(t, host => {
    createTrunk(host)
    const whole = network(host, 10, { mode: 'passthru' })
    const one = whole.attach()
    t.ok(one.container.pings('10.88.10.1', 5))
    t.match(whole.attachment().tryAdd().error, { code: 104, msg: /is taken in passthru mode by macvlan "eth0"/ })
    one.del()
    t.same(links(host), [])

    host.ip(`addr add 192.0.2.10/24 dev ${master}\nroute add default via 192.0.2.1`)
    const reached = network(host, 10, { hostAccess: true }).attach()
    t.ok(host.pings(reached.address, 5))
    t.ok(reached.container.pings('192.0.2.10'))
    reached.del()
    t.same(links(host), [])
  }),
)

t.test('a VLAN within the container', t =>
  withHost(t, host => {
    const container = host.createContainer()
    container.ip('link add inner type veth peer name outer\nlink set inner up\nlink set outer up')
    const one = network(host, 10, { master: 'inner.10', linkInContainer: true }).attach({ container })
    t.ok(container.links().includes('inner.10'))
    t.equal(one.check().stdout, '')
    one.del()
    t.same(container.links().toSorted(), ['inner', 'lo', 'outer'])
  }),
)
