/** host-device: there, with packets, and back as it was. */

import t from 'tap'
import { type CniVersion, cniVersions } from '../../lib/cni/types.ts'
import {
  answerOf,
  assertSameSnapshot,
  failEveryStep,
  goPluginDirectory,
  hostLocal,
  Network,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { addresses, cardNetwork, cardOf, mac, withCard } from './host-device-fixture.ts'

t.test('the device is in the container under its new name, with addresses, routes and packets', t =>
  withHost(t, host => {
    withCard(host)
    const { container, result } = cardNetwork(host).attach()
    t.notOk(host.links().includes('nic0'))
    t.same(container.links(), ['lo', 'eth0'])
    t.same(container.addresses('eth0'), ['10.88.0.5/24', 'fd00:88::5/64'])
    t.ok(container.pings('192.0.2.1'), 'beyond the gateway')
    t.ok(container.pings('fd00:88::1'))
    t.strictSame(result.interfaces, [{ name: 'eth0', mac, sandbox: container.path, mtu: 1400 }])
  }),
)

t.test('DEL gives the host its device back as it was: name, alias, MTU, MAC address', t =>
  withHost(t, host => {
    withCard(host)
    const before = snapshot(host)
    const attachment = cardNetwork(host).attach()
    attachment.container.ip(`link set eth0 down
link set eth0 mtu 1300 address 52:54:00:99:99:99
link set eth0 up`)
    attachment.del()
    t.same(attachment.container.links(), ['lo'])
    assertSameSnapshot(t, before, snapshot(host), 'after DEL')
    attachment.del()
    assertSameSnapshot(t, before, snapshot(host), 'a second DEL changes nothing')
  }),
)

t.test('without addresses the device is up in the container', t =>
  withHost(t, host => {
    withCard(host)
    host.ip('link set nic0 down')
    const attachment = cardNetwork(host, { ipam: {} }).attach()
    t.match(cardOf(attachment.container, 'eth0'), { isUp: true, mtu: 1400, address: mac })
    t.equal(attachment.check().stdout, '')
    attachment.del()
    t.match(cardOf(host), { isUp: false })
  }),
)

t.test('the name in the container may be that of another interface of the host', t =>
  withHost(t, host => {
    withCard(host)
    host.ip('link add eth0 type ifb')
    const before = snapshot(host)
    const attachment = cardNetwork(host).attach()
    attachment.del()
    assertSameSnapshot(t, before, snapshot(host), 'after DEL')
    const sameName = cardNetwork(host, { device: 'eth0', ipam: {} }).attach()
    t.ok(sameName.container.links().includes('eth0'))
    sameName.del()
    assertSameSnapshot(t, before, snapshot(host), 'after DEL of a device that keeps its name')
  }),
)

const selectors: Readonly<Record<string, object>> = {
  'its hardware address': { device: undefined, hwaddr: mac },
  'its hardware address, with dashes and capitals': { device: '', hwaddr: '52-54-00-00-00-07' },
  'an alternative name': { device: 'an-alternative-name-of-more-than-15-bytes' },
}

for (const [how, config] of Object.entries(selectors))
  t.test(`the device is found by ${how}`, t =>
    withHost(t, host => {
      withCard(host)
      // The address of the card is also that of a bridge and of what is stacked on it.
      host.ip(`link property add dev nic0 altname an-alternative-name-of-more-than-15-bytes`)
      const before = cardOf(host)
      const attachment = cardNetwork(host, config).attach()
      t.ok(attachment.container.pings('10.88.0.1'))
      attachment.del()
      t.same(cardOf(host), before)
    }),
  )

t.test('the device is found by its kernel path', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host, { device: undefined, kernelpath: '/sys/devices/virtual' })
    const attachment = network.attachment()
    // /sys shows the interfaces of the namespace that it was mounted in.
    const through = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', '/bin/mount -t sysfs none /sys && exec "$0"']
    t.equal(network.run({ ...attachment.request('ADD'), through }).error, undefined)
    t.ok(attachment.container.pings('10.88.0.1'))
    t.equal(network.run({ ...attachment.request('STATUS'), through }).error, undefined, 'STATUS while it is away')
    t.equal(network.run({ ...attachment.request('DEL'), through }).error, undefined)
    t.match(cardOf(host), { address: mac })
  }),
)

/** The whole document, by version. */
function expected(cniVersion: CniVersion, sandbox: string): object {
  const device = { name: 'eth0', mac, sandbox }
  const routes = [{ dst: '0.0.0.0/0' }]
  const ips = addresses.map(one => ({ interface: 0, ...one }))
  const [four, six] = addresses
  switch (cniVersion) {
    case '0.1.0':
    case '0.2.0':
      return {
        cniVersion,
        ip4: { ip: four?.address, gateway: four?.gateway, routes },
        ip6: { ip: six?.address, gateway: six?.gateway },
        dns: {},
      }
    case '0.3.0':
    case '0.3.1':
    case '0.4.0':
      return {
        cniVersion,
        interfaces: [device],
        ips: ips.map((ip, index) => ({ version: index === 0 ? '4' : '6', ...ip })),
        routes,
        dns: {},
      }
    case '1.0.0':
      return { cniVersion, interfaces: [device], ips, routes }
    case '1.1.0':
      return { cniVersion, interfaces: [{ ...device, mtu: 1400 }], ips, routes }
  }
}

for (const cniVersion of cniVersions)
  t.test(`ADD's result has the form of ${cniVersion}; with it DEL works`, t =>
    withHost(t, host => {
      withCard(host)
      const before = cardOf(host)
      const attachment = cardNetwork(host, { cniVersion }).attachment()
      const { json, stderr } = attachment.add()
      t.equal(stderr, '')
      t.strictSame(json, expected(cniVersion, attachment.container.path))
      attachment.del()
      t.same(cardOf(host), before)
    }),
  )

t.test('the addresses are free again after DEL, also without a namespace', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host, { ipam: hostLocal(host) })
    const before = snapshot(host)
    for (const netns of [undefined, '', '/run/netns/nowhere']) {
      const attachment = network.attach()
      t.same(attachment.container.addresses('eth0').length, 1)
      if (netns !== undefined) network.attachment({ container: attachment.container, containerId: 'other' })
      attachment.del()
      if (netns !== undefined) attachment.del({ netns })
      assertSameSnapshot(t, before, snapshot(host), String(netns))
    }
  }),
)

for (const [what, CNI_PATH] of [
  ['of this executable', undefined],
  ['that is a program of its own', goPluginDirectory],
] as const)
  t.test(`a failure at any step of ADD leaves the host as it was, with an address plugin ${what}`, t =>
    withHost(t, host => {
      withCard(host)
      host.ip(`addr add 10.77.0.1/24 brd + dev nic0
addr add 10.77.0.2/24 dev nic0
addr add fd00:77::1/64 dev nic0 nodad
route add 198.51.100.0/24 via 10.77.0.9 metric 7 mtu 1300
route add 203.0.113.0/24 via 10.77.0.9 table 100
route add 2001:db8::/32 via fd00:77::9`)
      const network = cardNetwork(host, { cniVersion: '1.0.0', ipam: hostLocal(host) })
      const container = host.createContainer()
      const before = snapshot(host)
      const environment = CNI_PATH === undefined ? {} : { CNI_PATH }
      const { steps } = failEveryStep(t, network, { container, environment }, claim =>
        assertSameSnapshot(t, before, snapshot(host), `${claim}: the host`),
      )
      t.equal(steps, 3, 'three steps were made to fail')
    }),
  )

t.test('an ADD that fails because of its addresses moves the device back', t =>
  withHost(t, host => {
    withCard(host)
    const before = snapshot(host)
    const ipam = {
      type: 'static',
      addresses: [{ address: '10.88.0.5/24' }],
      routes: [{ dst: '::/0', gw: 'fd00:99::1' }],
    }
    const attachment = cardNetwork(host, { ipam }).attachment()
    t.match(attachment.tryAdd().error, { code: 100, msg: /fd00:99::1/ })
    assertSameSnapshot(t, before, snapshot(host), 'after the failure')
    t.same(attachment.container.links(), ['lo'])
  }),
)

t.test('of containers that want the device at the same time one gets it, and the others are told who', t =>
  withHost(t, async host => {
    withCard(host)
    const before = cardOf(host)
    const network = cardNetwork(host)
    for (let round = 0; round < 5; round++) {
      const attachments = host.createContainers(4).map(container => network.attachment({ container }))
      const children = attachments.map(one => network.start(one.request('ADD')))
      const answers = await Promise.all(children.map(async child => answerOf(await child.ended)))
      const winners = attachments.filter((_, index) => answers[index]?.status === 0)
      t.equal(winners.length, 1)
      const [winner] = winners
      for (const { error } of answers.filter(({ status }) => status !== 0))
        t.match(error, {
          code: 104,
          msg: `device "nic0" is in use by container "${winner?.containerId}" of network "podnet", as "eth0"`,
        })
      t.ok(winner?.container.pings('10.88.0.1'))
      for (const attachment of attachments) attachment.del({ withoutResult: true })
      t.same(cardOf(host), before)
    }
  }),
)

t.test('CHECK finds what is no longer as ADD left it', t =>
  withHost(t, host => {
    withCard(host)
    const damages: Readonly<Record<string, RegExp>> = {
      'link set eth0 down': /is down|route to|gone/,
      'addr del 10.88.0.5/24 dev eth0': /address 10\.88\.0\.5\/24 is gone|route to/,
      'route del default': /route to 0\.0\.0\.0\/0 is gone/,
      'link set eth0 address 52:54:00:99:99:99': /has MAC 52:54:00:99:99:99/,
    }
    for (const [damage, message] of Object.entries(damages)) {
      const attachment = cardNetwork(host).attach()
      t.equal(attachment.check().stdout, '')
      attachment.container.ip(damage)
      t.match(attachment.check().error, { code: 105, msg: message }, damage)
      attachment.del()
    }
    const attachment = cardNetwork(host).attach()
    const gone = attachment.check()
    t.equal(gone.status, 0)
    attachment.del()
    t.match(attachment.check().error, { code: 105, msg: /gone from the container/ })
  }),
)

t.test('what the Go plugin has moved, ours brings back, and finds in order', t =>
  withHost(t, host => {
    withCard(host)
    host.ip('link set nic0 alias ""')
    const ours = cardNetwork(host, { cniVersion: '1.0.0' })
    const theirs = ours.with({}, goPluginDirectory)
    const before = cardOf(host)
    const attachment = theirs.attach()
    t.equal(ours.adopt(attachment).check().stdout, '')
    t.match(ours.with({ cniVersion: '1.1.0' }).status().error, { code: 50, msg: /does not exist/ })
    ours.adopt(attachment).del()
    t.same(cardOf(host), { ...before, isUp: false })
    const other = ours.attach()
    t.ok(other.container.pings('192.0.2.1'))
    other.del()
  }),
)

t.test('ours and the Go plugin leave a container the same', t =>
  withHost(t, host => {
    withCard(host)
    const ours = cardNetwork(host, { cniVersion: '1.0.0' })
    const seen = [ours, ours.with({}, goPluginDirectory)].map(network => {
      const attachment = new Network(host, network.config, network.pluginDir).attach()
      const { container, result } = attachment
      const addresses = container.addresses('eth0')
      const routes = container.show('route').map(({ dst, gateway }) => ({ dst, gateway }))
      const interfaces = result.interfaces?.map(({ name, mac }) => ({ name, mac }))
      attachment.del()
      host.ip('link set nic0 up')
      return { addresses, routes, interfaces, ips: result.ips, resultRoutes: result.routes }
    })
    t.strictSame(seen[0], seen[1])
  }),
)
