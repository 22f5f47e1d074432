/**
 * host-device with network cards on a PCI bus, which alone go back to the host when their container's namespace dies. The
 * guest has two on one wire; its own first namespace is the host, since that is where the kernel takes cards back to.
 */

import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  type Attachment,
  deleteNamespaces,
  Host,
  hostLocal,
  Network,
  type NetworkNamespace,
  output,
} from '../harness/index.ts'
import { cardOf } from '../netns/host-device-fixture.ts'

/** Those of scripts/vm/guest.ts. */
const macs = ['52:54:00:00:01:01', '52:54:00:00:01:02'] as const
const name = `cnikit-${process.pid}-first`

interface Card {
  /** Where it is in /sys/devices. */
  readonly path: string
  readonly pci: string
}

/** A host like that of withHost(), but for its namespace, which is the machine's first and stays. */
async function withCards(t: Test, use: (host: Host, card: Card, outside: NetworkNamespace) => Promise<void> | void) {
  output(['modprobe', 'virtio_net'])
  const found = readdirSync('/sys/class/net').filter(one => !/^lo$/.test(one))
  output(['ip', 'netns', 'attach', name, '1'])
  const host = new Host(name, mkdtempSync(join(tmpdir(), 'cnikit-cards-')))
  const links = host.show('link')
  const [card, other] = macs.map(mac => String(links.find(({ address }) => address === mac)?.ifname))
  const outside = host.createNamespace('outside')
  try {
    if (card === undefined || other === undefined || !found.includes(card)) throw new Error(`no cards among ${found}`)
    host.ip(`link set ${card} down
link set ${card} name card0 mtu 1400 alias "of the operator"
link set card0 up
link set ${other} netns ${outside.name} name port`)
    outside.ip('addr add 10.88.0.1/24 dev port\nlink set port up')
    const path = realpathSync('/sys/class/net/card0/device')
    await use(host, { path, pci: /\/(\d{4}:\d\d:\d\d\.\d)\//.exec(path)?.[1] ?? '' }, outside)
    t.match(cardOf(host, 'card0'), { address: macs[0], mtu: 1400, ifalias: 'of the operator', isUp: true })
    t.same(host.output(['find', host.directory, '-name', '10.*']), '', 'no address is held')
  } finally {
    outside.ip(`link set port netns ${name} name port`)
    deleteNamespaces(host.names())
    rmSync(host.directory, { recursive: true, force: true })
  }
}

const networkOf = (host: Host, config: object): Network =>
  new Network(host, { type: 'host-device', ipam: hostLocal(host), ...config })

const ways: Readonly<Record<string, (card: Card) => object>> = {
  'its PCI address': ({ pci }) => ({ pciBusID: pci }),
  'the PCI address that the runtime gives': ({ pci }) => ({ runtimeConfig: { deviceID: pci } }),
  'its kernel path': ({ path }) => ({ kernelpath: path }),
  'the kernel path of its PCI device': ({ path }) => ({ kernelpath: join(path, '..') }),
  'its hardware address': () => ({ hwaddr: macs[0] }),
}

for (const [way, select] of Object.entries(ways))
  t.test(`a card is found by ${way}, carries packets, and comes back`, t =>
    withCards(t, (host, card) => {
      const network = networkOf(host, select(card))
      const attachment = network.attach()
      const [{ name, pciID } = { name: '' }] = attachment.result.interfaces ?? []
      t.strictSame([name, pciID], ['eth0', /PCI address/.test(way) && !way.includes('kernel') ? card.pci : undefined])
      t.ok(attachment.container.pings('10.88.0.1', 10))
      t.equal(attachment.check().error, undefined)
      t.equal(network.status().error, undefined)
      attachment.del()
    }),
  )

/** The kernel takes a namespace apart some time after its last name is gone. */
async function killed({ container, network: { host } }: Attachment): Promise<string> {
  deleteNamespaces([container.name])
  for (;;) {
    const link = host.show('link').find(({ address }) => address === macs[0])
    if (link !== undefined) return String(link.ifname)
    await delay(50)
  }
}

t.test('a card whose namespace has died gets its name back from DEL', t =>
  withCards(t, async (host, { pci }) => {
    const attachment = networkOf(host, { pciBusID: pci }).attach()
    t.equal(await killed(attachment), 'eth0', 'the kernel leaves it the name that it had in the container')
    attachment.del({ netns: '' })
  }),
)

t.test('a card whose namespace has died, with another interface under its name, gets its own back from DEL', t =>
  withCards(t, async (host, { pci }) => {
    const attachment = networkOf(host, { pciBusID: pci }).attach()
    host.ip('link add eth0 type dummy')
    t.match(await killed(attachment), /^dev\d+$/)
    attachment.del({ withoutResult: true })
    host.ip('link del eth0')
  }),
)

t.test('GC brings a card back from the living namespace of a container that nobody knows any more', t =>
  withCards(t, (host, { pci }) => {
    const network = networkOf(host, { pciBusID: pci })
    const attachment = network.attach()
    network.gc(undefined)
    network.gc([attachment])
    t.same(attachment.container.links(), ['lo', 'eth0'], 'not that of a valid attachment')
    network.gc([])
    t.same(attachment.container.links(), ['lo'])
  }),
)

t.test('a card whose namespace has died gets its name back from GC', t =>
  withCards(t, async (host, { pci }) => {
    const network = networkOf(host, { pciBusID: pci })
    await killed(network.attach())
    network.gc([])
  }),
)

t.test('a card whose namespace has died serves the next container', t =>
  withCards(t, async (host, { pci }) => {
    const network = networkOf(host, { pciBusID: pci })
    const first = network.attach()
    await killed(first)
    const second = network.attach()
    t.ok(second.container.pings('10.88.0.1', 10))
    first.del({ netns: '' })
    t.ok(second.container.pings('10.88.0.1', 10))
    second.del()
  }),
)
