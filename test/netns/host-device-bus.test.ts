/** host-device: devices by their place on a bus, with a /sys of the test's own. Real ones: test/vm/host-device-pci.test.ts. */

import t from 'tap'
import { type Answer, type Attachment, hostLocal, withHost } from '../harness/index.ts'
import { cardNetwork, cardOf, mac, withCard } from './host-device-fixture.ts'

const pci = '0000:00:19.0'
const auxiliary = 'mlx5_core.sf.4'

/** Runs a verb with these paths below /sys/bus; those with " -> " are symbolic links. */
function runWith(paths: readonly string[], attachment: Attachment, command: string, config: object): Answer {
  const script = [
    'set -e',
    '/bin/mount -t tmpfs none /sys/bus',
    ...paths.map(path => {
      const [name, target] = path.split(' -> ')
      return target === undefined
        ? `/bin/mkdir -p "/sys/bus/${name}"`
        : `/bin/mkdir -p "/sys/bus/$(/usr/bin/dirname "${name}")"; /bin/ln -s "${target}" "/sys/bus/${name}"`
    }),
    'exec "$0"',
  ].join('\n')
  const through = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', script]
  const { network } = attachment
  return network.run({
    ...attachment.request(command),
    through,
    config: { ...network.config, device: undefined, ...config },
  })
}

const places: Readonly<Record<string, { config: object; paths: readonly string[]; pciID?: string }>> = {
  'a PCI address': { config: { pciBusID: pci }, paths: [`pci/devices/${pci}/net/nic0`], pciID: pci },
  'the PCI address of a virtio device': {
    config: { pciBusID: pci },
    paths: [`pci/devices/${pci}/virtio3/net/nic0`],
    pciID: pci,
  },
  'a PCI address that the runtime gives, and another in the configuration': {
    config: { runtimeConfig: { deviceID: pci }, pciBusID: '0000:00:20.0' },
    paths: [`pci/devices/${pci}/net/nic0`, 'pci/devices/0000:00:20.0/net/other'],
    pciID: pci,
  },
  'a device on the auxiliary bus that the runtime gives': {
    config: { runtimeConfig: { deviceID: auxiliary } },
    paths: [`auxiliary/devices/${auxiliary}/net/nic0`],
  },
  'the first of a device’s interfaces that is there': {
    config: { pciBusID: pci },
    paths: ['gone', 'nic0', 'other'].map(name => `pci/devices/${pci}/net/${name}`),
    pciID: pci,
  },
}

for (const [place, { config, paths, pciID }] of Object.entries(places))
  t.test(`the device is found by ${place}`, t =>
    withHost(t, host => {
      withCard(host)
      host.ip('link add other type ifb')
      const before = cardOf(host)
      const attachment = cardNetwork(host).attachment()
      const { result, error } = runWith(paths, attachment, 'ADD', config)
      t.equal(error, undefined)
      t.strictSame(result?.interfaces, [
        { name: 'eth0', mac, sandbox: attachment.container.path, mtu: 1400, ...(pciID && { pciID }) },
      ])
      t.ok(attachment.container.pings('10.88.0.1'))
      t.equal(runWith(paths, attachment, 'STATUS', config).error, undefined, 'STATUS while it is away')
      t.equal(runWith([], attachment, 'DEL', config).error, undefined, 'DEL does not look for it on the bus')
      t.same(cardOf(host), before)
    }),
  )

for (const driver of ['vfio-pci', 'uio_pci_generic', 'igb_uio'])
  t.test(`a device of the driver ${driver} stays where it is: the result has its addresses`, t =>
    withHost(t, host => {
      const paths = [`pci/devices/${pci}/driver -> ../../drivers/${driver}`]
      const attachment = cardNetwork(host, { ipam: hostLocal(host) }).attachment()
      const added = runWith(paths, attachment, 'ADD', { pciBusID: pci })
      t.strictSame(added.json, {
        cniVersion: '1.1.0',
        ips: [{ address: '10.88.0.2/24', gateway: '10.88.0.1' }],
      })
      t.same(attachment.container.links(), ['lo'])
      const prevResult = added.json
      t.equal(runWith(paths, attachment, 'CHECK', { pciBusID: pci, prevResult }).error, undefined)
      t.equal(runWith(paths, attachment, 'STATUS', { pciBusID: pci }).error, undefined)
      t.equal(runWith(paths, attachment, 'DEL', { pciBusID: pci }).error, undefined)
      t.same(host.output(['find', host.dataDirectory, '-name', '10.*']), '', 'the address is free again')
      const bare = runWith(paths, attachment, 'ADD', { pciBusID: pci, ipam: {} })
      t.strictSame(bare.json, { cniVersion: '1.1.0' }, 'without addresses')
    }),
  )

t.test('a device without an interface that the host sees is refused', t =>
  withHost(t, host => {
    const attachment = cardNetwork(host).attachment()
    const { error } = runWith([`pci/devices/${pci}/net`], attachment, 'ADD', { pciBusID: pci })
    t.match(error, { code: 109, msg: `device with pciBusID "${pci}" has no interface on the host` })
  }),
)
