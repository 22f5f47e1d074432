/** Settings of macvlan's interface, and what others on the network are told of it. */

import t from 'tap'
import { type Attachment, until, withHost } from '../harness/index.ts'
import { createLan, interfaceOf, lanAddressing, macvlanNetwork, master } from './macvlan-fixture.ts'

t.test("the MTU is the master's, or that of the configuration", t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip(`link set ${master} mtu 1400`)
    const inherited = macvlanNetwork(host).attach()
    t.same([interfaceOf(inherited.container).mtu, inherited.result.interfaces?.[0]?.mtu], [1400, 1400])
    const given = macvlanNetwork(host, { mtu: 1300 }).attach()
    t.same([interfaceOf(given.container).mtu, given.result.interfaces?.[0]?.mtu], [1300, 1300])
  }),
)

t.test('the MAC address: runtimeConfig before args before CNI_ARGS before the configuration', t =>
  withHost(t, async host => {
    await createLan(host)
    const sources = {
      runtimeConfig: { runtimeConfig: { mac: '02:00:00:00:00:01' } },
      args: { args: { cni: { mac: '02:00:00:00:00:02' } } },
      CNI_ARGS: {},
      configuration: { mac: '02:00:00:00:00:04' },
    }
    const from = Object.entries(sources)
    from.forEach(([source, _], index) => {
      const config = Object.assign({}, ...from.slice(index).map(([_, keys]) => keys))
      const args = index <= 2 ? 'IgnoreUnknown=1;MAC=02:00:00:00:00:03' : undefined
      const one = macvlanNetwork(host).attach({ config, ...(args === undefined ? {} : { args }) })
      const wanted = `02:00:00:00:00:0${index + 1}`
      t.same([interfaceOf(one.container).address, one.result.interfaces?.[0]?.mac], [wanted, wanted], source)
      one.del()
    })
  }),
)

t.test('a MAC address that the master or another container has is refused, and nothing is left', t =>
  withHost(t, async host => {
    await createLan(host)
    const [{ address: masterMac } = { address: '' }] = host.show<{ address: string }[]>('link', 'show', 'dev', master)
    const mac = '02:00:00:00:00:07'
    macvlanNetwork(host, { mac }).attach()
    for (const taken of [mac, masterMac]) {
      const second = macvlanNetwork(host, { mac: taken }).attachment()
      t.match(second.tryAdd().error, {
        code: 103,
        msg: `MAC address ${taken} is that of master "uplink" or of another macvlan on it`,
      })
      t.same(second.container.links(), ['lo'])
    }
  }),
)

t.test('the length of the queue for broadcasts', t =>
  withHost(t, async host => {
    await createLan(host)
    const length = (one: Attachment) =>
      /bcqueuelen (\d+)/.exec(one.container.output(['ip', '-d', 'link', 'show', 'eth0']))?.[1]
    t.equal(length(macvlanNetwork(host).attach()), '1000')
    t.equal(length(macvlanNetwork(host, { bcqueuelen: 4000 }).attach()), '4000')
  }),
)

t.test('others on the network learn at once where an address is now: gratuitous ARP, neighbour advertisement', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    lan.ip(
      'neigh replace 10.88.0.2 lladdr 02:00:00:00:00:99 dev sw nud stale\nneigh replace fd00:88::2 lladdr 02:00:00:00:00:99 dev sw nud stale',
    )
    const one = macvlanNetwork(host).attach()
    t.same(one.addresses, ['10.88.0.2', 'fd00:88::2'])
    const { address: mac } = interfaceOf(one.container)
    for (const address of one.addresses) {
      const known = () => lan.output(['ip', 'neigh', 'show', address])
      await until(`${address} is known at ${mac}`, () => known().includes(mac), 10)
      t.match(known(), mac, address)
    }
  }),
)

t.test('addresses can be used when ADD has answered, those of IPv6 too', t =>
  withHost(t, async host => {
    await createLan(host)
    const one = macvlanNetwork(host).attach()
    const addresses = one.container.show<{ addr_info: { local: string; tentative?: boolean }[] }[]>(
      'addr',
      'show',
      'dev',
      'eth0',
    )
    const own = addresses.flatMap(({ addr_info }) => addr_info).filter(({ local }) => one.addresses.includes(local))
    t.same(
      own.map(({ tentative }) => tentative ?? false),
      [false, false],
    )
  }),
)

t.test('an IPv6 address that another host has is refused with enabledad, and nothing is left', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    lan.ip('addr add fd00:88::2/64 dev sw nodad')
    const one = macvlanNetwork(host, { enabledad: true, ipam: lanAddressing(host, 'ipv6') }).attachment()
    t.match(one.tryAdd().error, { code: 104, msg: /^another host already has the address fd00:88::2\/64/ })
    t.same(one.container.links(), ['lo'])
  }),
)
