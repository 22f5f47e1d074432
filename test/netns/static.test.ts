/** static as the address plugin of a bridge: packets, and the same answers as the Go plugin's. */

import t from 'tap'
import { cniVersions } from '../../lib/cni/types.ts'
import {
  assertSameSnapshot,
  failEveryStep,
  goPluginDirectory,
  type Host,
  Network,
  pluginDirectory,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { assertRefusals } from '../harness/refusals.ts'

const addresses = [
  { address: '10.88.0.5/24', gateway: '10.88.0.1' },
  { address: 'fd00:88::5/64', gateway: 'fd00:88::1' },
]
const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]

/** The bridge has the gateways' addresses, which do not come from the plugin. The kernel changes a bridge's limits with its first port. */
function hostWithGateways(host: Host): void {
  host.ip(`link add br0 address 52:54:00:00:00:03 type bridge
addr add 10.88.0.1/24 dev br0
addr add fd00:88::1/64 dev br0 nodad
link add was type veth peer name once
link set was master br0
link set br0 up
link del was`)
}

const network = (host: Host, ipam: object = {}, config: object = {}) =>
  new Network(host, { isDefaultGateway: false, ipam: { type: 'static', addresses, routes, ...ipam }, ...config })

t.test('the container has the addresses and sends through their gateways', t =>
  withHost(t, host => {
    hostWithGateways(host)
    host.ip('addr add 192.0.2.1/32 dev lo\naddr add 2001:db8::1/128 dev lo')
    const { container, result } = network(host).attach()
    t.same(container.addresses('eth0'), ['10.88.0.5/24', 'fd00:88::5/64'])
    t.ok(container.pings('192.0.2.1'), 'beyond the IPv4 gateway')
    t.ok(container.pings('2001:db8::1'), 'beyond the IPv6 gateway')
    t.strictSame(
      result.ips,
      addresses.map(one => ({ interface: 2, ...one })),
    )
  }),
)

t.test('with the capability ips the gateways are still there', t =>
  withHost(t, host => {
    hostWithGateways(host)
    host.ip('addr add 192.0.2.1/32 dev lo')
    const attachment = network(host).attach({ config: { runtimeConfig: { ips: ['10.88.0.77/24', 'fd00:88::77'] } } })
    t.same(attachment.container.addresses('eth0'), ['10.88.0.77/24', 'fd00:88::77/64'])
    t.ok(attachment.container.pings('192.0.2.1'))
    t.equal(attachment.check().stdout, '')
  }),
)

t.test('a gateway outside the subnet serves when a route leads to it', t =>
  withHost(t, host => {
    host.ip(`link add br0 address 52:54:00:00:00:03 type bridge
addr add 169.254.1.1/32 dev br0
addr add 192.0.2.1/32 dev lo
link set br0 up
route add 10.88.0.5/32 dev br0`)
    const ipam = {
      addresses: [{ address: '10.88.0.5/32', gateway: '169.254.1.1' }],
      routes: [{ dst: '169.254.1.1/32', scope: 253 }, { dst: '0.0.0.0/0' }],
    }
    const { container } = network(host, ipam).attach()
    t.ok(container.pings('192.0.2.1'))
  }),
)

t.test('routes have all that the configuration says of them', t =>
  withHost(t, host => {
    hostWithGateways(host)
    const route = { dst: '192.0.2.0/24', gw: '10.88.0.9', mtu: 1400, advmss: 1300, priority: 7, table: 100 }
    const { container, result } = network(host, { routes: [route] }).attach()
    t.strictSame(result.routes, [route])
    t.match(container.show('route', 'show', 'table', '100'), [
      { dst: '192.0.2.0/24', gateway: '10.88.0.9', metric: 7, metrics: [{ mtu: 1400, advmss: 1300 }] },
    ])
  }),
)

t.test('CHECK finds a configuration that has changed; DEL leaves nothing', t =>
  withHost(t, host => {
    hostWithGateways(host)
    const before = snapshot(host)
    const attachment = network(host).attach()
    t.equal(attachment.check().stdout, '')
    const changed = network(host, { addresses: [{ address: '10.88.0.6/24' }] }).adopt(attachment)
    t.match(changed.check().error, { code: 105, msg: /10\.88\.0\.6\/24/ })
    attachment.del()
    attachment.del()
    assertSameSnapshot(t, before, snapshot(host), 'after DEL')
  }),
)

t.test('DEL works when the configuration no longer does', t =>
  withHost(t, host => {
    hostWithGateways(host)
    const attachment = network(host).attach()
    network(host, { addresses: 'none' }).adopt(attachment).del()
    t.same(attachment.container.links(), ['lo'])
  }),
)

t.test('an ADD that static refuses, and one that fails later, change nothing', t =>
  withHost(t, host => {
    hostWithGateways(host)
    const before = snapshot(host)
    const container = host.createContainer()
    const { steps } = failEveryStep(t, network(host), { container }, claim =>
      assertSameSnapshot(t, before, snapshot(host), `${claim}: the host`),
    )
    t.ok(steps > 2, `${steps} steps were made to fail`)
  }),
)

t.test('configurations and arguments that are refused before anything is changed', t =>
  withHost(t, host => {
    const bad = (what: string, ipam: object, says: RegExp, more: object = {}) => ({
      what,
      config: { ipam: { type: 'static', ...ipam }, ...more },
      code: 7,
      says,
    })
    assertRefusals(t, host, () => [
      bad('no addresses', {}, /there is no address to give/),
      bad('an address that is none', { addresses: [{ address: '10.88.0.5' }] }, /must be a prefix/),
      bad('an address twice', { addresses: [addresses[0], addresses[0]] }, /is already$/),
      bad('another family', { addresses: [{ address: '10.88.0.5/24', gateway: 'fd00::1' }] }, /another address family/),
      bad('a network', { addresses: [{ address: '10.88.0.0/24' }] }, /the network itself/),
      bad('an ip of no subnet', {}, /without a prefix length/, { runtimeConfig: { ips: ['10.88.0.5'] } }),
      {
        ...bad('an unknown key in CNI_ARGS', { addresses }, /unknown args \["COLOUR=red"\]/),
        environment: { CNI_ARGS: 'COLOUR=red' },
        code: 4,
      },
      {
        ...bad('a gateway in CNI_ARGS without a subnet', { addresses }, /in the subnet of no address/),
        environment: { CNI_ARGS: 'GATEWAY=10.99.0.1' },
        code: 4,
      },
    ])
  }),
)

const comparable: Readonly<Record<string, { ipam: object; config?: object; args?: string }>> = {
  'addresses, gateways, routes, DNS': {
    ipam: { addresses, routes: [{ dst: '0.0.0.0/0', gw: '10.88.0.1' }], dns: { nameservers: ['10.88.0.1'] } },
  },
  'no gateway': { ipam: { addresses: [{ address: '10.88.0.5/24' }] } },
  'address without configuration': { ipam: {}, args: 'IP=10.88.0.9/24;GATEWAY=10.88.0.1' },
  'args.cni.ips': { ipam: {}, config: { args: { cni: { ips: ['10.88.0.9/24'] } } } },
  'runtimeConfig.ips': {
    ipam: { addresses: [{ address: '10.77.0.5/24' }] },
    config: { runtimeConfig: { ips: ['10.88.0.9/24', 'fd00:88::9/64'] }, capabilities: { ips: true } },
  },
}

for (const [what, { ipam, config, args }] of Object.entries(comparable))
  t.test(`the Go plugin gives the same result: ${what}`, t =>
    withHost(t, host => {
      const container = host.createContainer()
      // Debian's Go plugin is older than 1.1.0.
      for (const cniVersion of cniVersions.filter(version => version !== '1.1.0')) {
        const { config: base } = network(host, {}, { cniVersion, ...config })
        const request = {
          host,
          command: 'ADD',
          containerId: 'one',
          netns: container,
          args,
          config: { ...base, ipam: { type: 'static', ...ipam } },
        }
        const [ours, theirs] = [pluginDirectory, goPluginDirectory].map(pluginDir =>
          new Network(host, {}, pluginDir).runAs('static', { ...request, pluginDir }),
        )
        t.equal(ours?.status, 0, cniVersion)
        // Debian's prints an empty "dns" in 1.0.0 as well, later ones do not.
        const filled = [ours, theirs].map(answer => ({ dns: {}, ...(answer?.json as object) }))
        t.strictSame(filled[0], filled[1], cniVersion)
      }
    }),
  )

t.test('our static serves the Go bridge, the Go static our bridge', t =>
  withHost(t, host => {
    hostWithGateways(host)
    const cniVersion = '1.0.0'
    for (const [plugins, ipam] of [
      [goPluginDirectory, pluginDirectory],
      [pluginDirectory, goPluginDirectory],
    ] as const) {
      const directory = `${host.directory}/${plugins === goPluginDirectory ? 'ours' : 'go'}`
      host.output(['mkdir', '-p', directory])
      host.output(['cp', `${ipam}/static`, directory])
      const mixed = new Network(host, network(host, {}, { cniVersion }).config, plugins)
      const attachment = mixed.attach({ environment: { CNI_PATH: directory } })
      t.ok(attachment.container.pings('10.88.0.1'), plugins)
      t.equal(attachment.check().stdout, '', plugins)
      attachment.del()
    }
  }),
)
