/** host-device: the device comes home whatever has happened to it, to its container and to what was known of it. */

import t from 'tap'
import {
  type Attachment,
  deleteNamespaces,
  goPluginDirectory,
  type Host,
  hostLocal,
  withHost,
} from '../harness/index.ts'
import { cardNetwork, cardOf, killNamespace, mac, withCard } from './host-device-fixture.ts'

const accidents: Readonly<Record<string, (attachment: Attachment, host: Host) => void>> = {
  'renamed in the container': ({ container }) =>
    container.ip('link set eth0 down\nlink set eth0 name inside\nlink set inside up'),
  'renamed, with another interface under its name': ({ container }) =>
    container.ip('link set eth0 down\nlink set eth0 name inside\nlink add eth0 type ifb'),
  'another MTU and MAC address': ({ container }) =>
    container.ip('link set eth0 down\nlink set eth0 mtu 1280 address 52:54:00:99:99:99'),
  'without its alias': ({ container }) => container.ip('link set eth0 alias ""'),
  'with another alias': ({ container }) => container.ip('link set eth0 alias "cnikit host-device: mine"'),
  'back under the container’s name, as after the death of its namespace': ({ container }, host) =>
    killNamespace(host, container, 'eth0'),
  'back under a name of the kernel’s, as after the death of its namespace': ({ container }, host) =>
    killNamespace(host, container, 'eth0', 'dev7'),
  'back and brought up by somebody': ({ container }, host) => {
    killNamespace(host, container, 'eth0')
    host.ip('link set eth0 up')
  },
}

for (const [accident, happen] of Object.entries(accidents))
  t.test(`DEL brings back a device that is ${accident}`, t =>
    withHost(t, host => {
      withCard(host)
      const before = cardOf(host) as { ifalias?: string; mtu: number }
      const attachment = cardNetwork(host, { ipam: hostLocal(host) }).attach()
      happen(attachment, host)
      attachment.del()
      // Without the alias nothing tells what it was.
      const { ifalias, ...rest } = cardOf(host) as { ifalias?: string }
      const { ifalias: wanted, ...restBefore } = before
      const isForgotten = accident.includes('alias')
      t.same(rest, { ...restBefore, ...(isForgotten ? { isUp: false } : {}) })
      t.equal(ifalias, isForgotten ? undefined : wanted)
      attachment.del({ withoutResult: true, netns: '' })
      t.same(host.output(['find', host.dataDirectory, '-name', '10.*']), '', 'its address is free')
    }),
  )

t.test('a device that vanished with its namespace, as virtual ones do, is no obstacle to DEL', t =>
  withHost(t, host => {
    withCard(host)
    const attachment = cardNetwork(host, { ipam: hostLocal(host) }).attach()
    deleteNamespaces([attachment.container.name])
    attachment.del({ withoutResult: true })
    t.same(host.output(['find', host.dataDirectory, '-name', '10.*']), '')
  }),
)

t.test('a device whose name is taken comes home under another, and gets its own from GC when that is free', t =>
  withHost(t, host => {
    withCard(host)
    const before = cardOf(host)
    const network = cardNetwork(host)
    const attachment = network.attach()
    host.ip('link add nic0 type ifb')
    const { stderr } = attachment.del()
    t.match(stderr, /"dev\d+" cannot have its name "nic0" back, which another interface has now/)
    t.same(attachment.container.links(), ['lo'])
    const [name = ''] = host.links().filter(one => one.startsWith('dev'))
    t.match(host.show('link', 'show', 'dev', name), [{ ifalias: /^cnikit host-device: podnet / }])
    host.ip('link del nic0')
    network.gc([])
    t.same(cardOf(host), before)
  }),
)

for (const config of [{}, { device: undefined, hwaddr: mac }])
  t.test(`a device that came back by itself serves the next container: ${JSON.stringify(config)}`, t =>
    withHost(t, host => {
      withCard(host)
      const network = cardNetwork(host, config)
      const first = network.attach()
      killNamespace(host, first.container, 'eth0', 'dev7')
      t.equal(network.status().error, undefined, 'STATUS')
      const second = network.attach()
      t.ok(second.container.pings('10.88.0.1'))
      first.del()
      t.ok(second.container.pings('10.88.0.1'), 'the DEL of the first leaves it there')
      second.del()
      t.match(cardOf(host), { ifalias: "the operator's own words", isUp: true })
    }),
  )

t.test('DEL after an ADD that was refused takes nothing that is not the attachment’s', t =>
  withHost(t, host => {
    withCard(host)
    const container = host.createContainer()
    container.ip('link add eth0 type veth peer name other\nlink set eth0 alias web')
    const attachment = cardNetwork(host).attachment({ container })
    t.match(attachment.tryAdd().error, { code: 104, msg: /interface "eth0" already exists/ })
    attachment.del()
    t.same(container.links().toSorted(), ['eth0', 'lo', 'other'])
    t.ok(host.links().includes('nic0'))
  }),
)

t.test('another attachment’s device stays where it is', t =>
  withHost(t, host => {
    withCard(host)
    const attachment = cardNetwork(host).attach({ containerId: 'one' })
    const { container } = attachment
    cardNetwork(host).attachment({ container, containerId: 'two' }).del()
    cardNetwork(host, { name: 'othernet' }).attachment({ container, containerId: 'one' }).del()
    cardNetwork(host).attachment({ container, containerId: 'one', ifname: 'eth1' }).del()
    t.ok(container.pings('10.88.0.1'))
  }),
)

t.test('DEL needs no device in the configuration', t =>
  withHost(t, host => {
    withCard(host)
    const before = cardOf(host)
    const network = cardNetwork(host, { device: undefined, runtimeConfig: {} })
    const made = cardNetwork(host).attach()
    network.adopt(made).del({ withoutResult: true })
    t.same(cardOf(host), before)
  }),
)

t.test('GC gives what came back by itself its name, unless its attachment is valid', t =>
  withHost(t, host => {
    withCard(host)
    host.ip('link add nic1 type veth peer name port1\nlink add nic2 type veth peer name port2')
    const network = cardNetwork(host, { ipam: {} })
    const attach = (device: string, config: object = {}) => network.with({ device, ...config }).attach()
    const [one, foreign, valid] = [attach('nic0'), attach('nic1', { name: 'othernet' }), attach('nic2')]
    killNamespace(host, one.container, 'eth0', 'dev7')
    killNamespace(host, foreign.container, 'eth0', 'dev8')
    killNamespace(host, valid.container, 'eth0', 'dev9')
    network.gc(undefined)
    t.ok(host.links().includes('dev7'), 'not without a list of valid attachments')
    network.gc([valid])
    t.match(cardOf(host), { ifalias: "the operator's own words", isUp: true })
    t.ok(host.links().includes('dev8'), 'not that of another network')
    t.ok(host.links().includes('dev9'))
  }),
)

t.test('no container gets a link of its own making onto the host by writing a record', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host)
    const { container } = network.attach()
    const [card] = container.show('link', 'show', 'dev', 'eth0')
    const forged = String(card?.ifalias).replace(/container-\d+/, 'nobody')
    container.ip(`link add evil type veth peer name inside\nlink set evil alias "${forged}"`)
    const before = host.links()
    network.gc([])
    t.same(host.links(), before)
  }),
)

t.test('GC of one host leaves the devices of another alone', t =>
  withHost(t, host =>
    withHost(t, other => {
      withCard(host)
      withCard(other)
      const [ours, theirs] = [cardNetwork(host), cardNetwork(other)]
      const attachment = theirs.attach()
      ours.gc([])
      t.ok(attachment.container.pings('10.88.0.1'))
      t.match(ours.attach().result, { interfaces: [{ name: 'eth0' }] })
      attachment.del()
    }),
  ),
)

t.test('GC frees the addresses of lost attachments', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host, { ipam: hostLocal(host) })
    killNamespace(host, network.attach().container, 'eth0')
    network.gc([])
    t.same(host.output(['find', host.dataDirectory, '-name', '10.*']), '')
    t.ok(host.links().includes('nic0'))
  }),
)

t.test('an alias that is too long to be kept is named, and the device moves', t =>
  withHost(t, host => {
    withCard(host)
    host.ip(`link set nic0 alias ${'x'.repeat(240)}`)
    const attachment = cardNetwork(host).attachment()
    t.match(attachment.add().stderr, /the alias of "nic0" is too long to be kept and will be gone: xxx/)
    attachment.del()
    t.match(cardOf(host), { ifalias: undefined, isUp: true, mtu: 1400 })
    const refused = cardNetwork(host, { name: 'n'.repeat(200) }).attachment()
    t.match(refused.tryAdd().error, { code: 7, msg: /too long/ })
    t.ok(host.links().includes('nic0'))
  }),
)

t.test('the device comes back, and the address plugin’s failure is told, when that plugin is a program that fails', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host, { cniVersion: '1.0.0', ipam: hostLocal(host) })
    const attachment = network.attach({ environment: { CNI_PATH: goPluginDirectory } })
    const { error } = network.run({ ...attachment.request('DEL'), environment: { CNI_PATH: '/nowhere' } })
    t.match(error, { code: 106, msg: /failed to find plugin "host-local"/ })
    t.ok(host.links().includes('nic0'))
    t.same(attachment.container.links(), ['lo'])
  }),
)
