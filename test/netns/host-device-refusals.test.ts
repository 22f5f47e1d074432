/** host-device: what is refused before anything is changed, and what STATUS says. */

import t from 'tap'
import { hostLocal, snapshot, withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'
import { cardNetwork, cardOf, mac, withCard } from './host-device-fixture.ts'

const plugin = 'host-device'
const none = { device: undefined }

t.test('configurations that name no device, or one that cannot be', t =>
  withHost(t, host => {
    withCard(host)
    const bad = (config: object, code: number, says: RegExp): Refusal => ({
      what: JSON.stringify(config),
      plugin,
      config: { ...none, ...config },
      code,
      says,
    })
    assertRefusals(
      t,
      host,
      () => [
        bad({}, 7, /^specify either "device", "hwaddr", "kernelpath" or "pciBusID"$/),
        bad({ device: '', hwaddr: null, pciBusID: '' }, 7, /^specify either/),
        bad({ device: 5 }, 7, /"device" is 5, but must be/),
        bad({ device: 'nic9' }, 109, /^device "nic9" does not exist on the host$/),
        bad({ device: '../nic0' }, 7, /"device" is "..\/nic0", which is no name of an interface/),
        bad({ device: 'a-name-that-is-longer-than-any-other-name' }, 109, /does not exist/),
        bad({ hwaddr: '52:54:00:00:00:99' }, 109, /^device with hwaddr "52:54:00:00:00:99" does not exist/),
        bad({ hwaddr: '52:54:00:00:00' }, 7, /"hwaddr" is "52:54:00:00:00", which is no hardware address/),
        bad({ hwaddr: 'nic0' }, 7, /which is no hardware address/),
        bad({ hwaddr: `${mac}:` }, 7, /which is no hardware address/),
        bad({ kernelpath: '/sys/class/net/nic0' }, 7, /which is not a path below \/sys\/devices\//),
        bad({ kernelpath: '/sys/devices/../class' }, 7, /which is not a path below/),
        bad(
          { kernelpath: '/sys/devices/pci9999:00' },
          109,
          /^device with kernelpath "\/sys\/devices\/pci9999:00" does/,
        ),
        bad({ pciBusID: '9999:00:00.0' }, 109, /^device with pciBusID "9999:00:00.0" does not exist/),
        bad({ pciBusID: '../../../etc' }, 7, /which is no address of a device on a bus/),
        bad({ pciBusID: 'a\0b' }, 7, /contains a NUL character/),
        bad({ runtimeConfig: { deviceID: '..' } }, 7, /"runtimeConfig.deviceID" is "..", which is no address/),
        bad({ runtimeConfig: { deviceID: '9999:00:00.0' }, device: 'nic0' }, 109, /runtimeConfig.deviceID "9999/),
        bad({ device: 'nic0', enabledad: 'yes' }, 7, /"enabledad" is "yes", but must be/),
        bad({ device: 'nic0', allowDefaultRoute: 1 }, 7, /"allowDefaultRoute" is 1, but must be/),
        bad({ device: 'nic0', ipam: { type: 'nowhere' } }, 106, /failed to find plugin "nowhere"/),
        bad({ device: 'nic0', ipam: { type: 'static' } }, 7, /there is no address to give/),
        bad({ device: 'nic0', cniVersion: '0.2.0', ipam: {} }, 1, /no valid IP addresses/),
        {
          ...bad({ device: 'nic0' }, 104, /^the host's loopback/),
          what: 'lo',
          config: { device: 'lo' },
          says: /"lo" is the host's loopback/,
        },
      ],
      { ipam: {} },
    )
  }),
)

t.test('devices that the host needs', t =>
  withHost(t, host => {
    withCard(host)
    host.ip(`link add br0 type bridge
link add slave type veth peer name other
link set slave master br0
addr add 10.77.0.1/24 dev nic0
route add default via 10.77.0.9`)
    const bad = (device: string, says: RegExp): Refusal => ({
      what: device,
      plugin,
      config: { device },
      code: 104,
      says,
    })
    assertRefusals(
      t,
      host,
      () => [
        bad('nic0', /^the host's default route leads through "nic0"/),
        bad('slave', /^"slave" is a port of bridge "br0", which would lose it/),
        bad('br0', /^"br0" cannot be moved into a container: the kernel keeps it in its namespace/),
      ],
      { ipam: {} },
    )
    host.ip('route del default\nroute add default nexthop via 10.77.0.9 nexthop via 10.77.0.8')
    assertRefusals(t, host, () => [bad('nic0', /default route/)], { ipam: {} })
    host.ip('route del default\nroute add default via 10.77.0.9 table 100')
    assertRefusals(t, host, () => [bad('nic0', /default route/)], { ipam: {} })
  }),
)

t.test('with allowDefaultRoute the host’s uplink can be moved', t =>
  withHost(t, host => {
    withCard(host)
    host.ip('addr add 10.88.0.9/24 dev nic0\nroute add default via 10.88.0.1')
    const attachment = cardNetwork(host, { allowDefaultRoute: true }).attach()
    t.ok(attachment.container.pings('192.0.2.1'))
    attachment.del()
    t.match(cardOf(host), { isUp: true })
  }),
)

t.test('an interface of a hardware address that several have', t =>
  withHost(t, host => {
    withCard(host)
    host.ip(`link add twin address ${mac} type veth peer name other`)
    assertRefusals(t, host, () => [
      {
        what: 'twins',
        plugin,
        config: { ...none, hwaddr: mac, ipam: {} },
        code: 104,
        says: new RegExp(`^several interfaces have the hardware address ${mac}: nic0, twin$`),
      },
    ])
  }),
)

t.test('STATUS tells a device that is missing, one in use is no failure', t =>
  withHost(t, host => {
    withCard(host)
    const network = cardNetwork(host)
    const before = snapshot(host)
    t.equal(network.status().error, undefined)
    t.match(network.status({ device: 'nic9' }).error, { code: 50, msg: 'device "nic9" does not exist on the host' })
    t.match(network.status({ ...none, hwaddr: '52:54:00:00:00:99' }).error, { code: 50 })
    t.match(network.status({ ...none, pciBusID: '9999:00:00.0' }).error, { code: 50 })
    t.match(network.status({ device: 'lo' }).error, { code: 50, msg: /loopback/ })
    t.match(network.status(none).error, { code: 7, msg: /^specify either/ })
    t.equal(network.status({ ...none, capabilities: { deviceID: true } }).error, undefined, 'the runtime will choose')
    t.match(network.status({ ipam: { type: 'nowhere' } }).error, { code: 50 })
    t.same(snapshot(host), before, 'STATUS changes nothing')
    const attachment = network.attach()
    t.equal(network.status().error, undefined, 'in use')
    t.equal(network.status({ ...none, hwaddr: mac }).error, undefined, 'in use, by its address')
    attachment.del()
  }),
)

t.test('STATUS passes on what the address plugin says', t =>
  withHost(t, host => {
    withCard(host)
    const ipam = { ...hostLocal(host, '10.88.0.0/30') }
    const network = cardNetwork(host, { ipam })
    t.equal(network.status().error, undefined)
    network.attach()
    t.match(network.status().error, { code: 50, msg: /no IP addresses available/ })
  }),
)
