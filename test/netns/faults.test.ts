/** ADD that does not come to its end: whatever stops it, and wherever, the host is as it was. */

import t from 'tap'
import {
  type AttachmentOptions,
  differences,
  failEveryStep,
  goPluginDirectory,
  type Host,
  hostLocal,
  Network,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

const dualStack = (host: Host) => hostLocal(host, subnets.ipv4, subnets.ipv6)

/**
 * Tables, chains and sets that hold nothing of an attachment. The first ADD makes them, and nobody takes them away: all
 * containers share them, and deleting them would make every DEL wait for the kernel.
 */
function isEmptyTable(line: string): boolean {
  if (/^\+ iptables (ip6 )?(\*nat|COMMIT|:(PREROUTING|INPUT|OUTPUT|POSTROUTING) ACCEPT)/.test(line)) return true
  if (!line.startsWith('+ nftables ') || line.includes('"elem"')) return false
  return line.includes('"table":"cnikit"') || /"(name|table)":"(cnikit|nat)"/.test(line)
}

interface Situation {
  readonly config?: (host: Host) => object
  readonly options?: AttachmentOptions
  readonly prepare?: (host: Host, network: Network) => void
}

const situations: Readonly<Record<string, Situation>> = {
  'the first container of a host': { config: () => ({ ipMasq: true }) },
  'a second container': {
    config: () => ({ ipMasq: true }),
    prepare: (_, network) => network.attach(),
  },
  'dual stack with masquerade': {
    config: host => ({ ipMasq: true, ipam: dualStack(host) }),
    prepare: (_, network) => network.attach(),
  },
  'dual stack with masquerade by iptables': {
    config: host => ({ ipMasq: true, ipMasqBackend: 'iptables', ipam: dualStack(host) }),
    prepare: (_, network) => network.attach(),
  },
  'the first container of a host, masqueraded by iptables': {
    config: host => ({ ipMasq: true, ipMasqBackend: 'iptables', ipam: dualStack(host) }),
  },
  'settings of the port, MAC spoof check': {
    config: () => ({ hairpinMode: true, portIsolation: true, macspoofchk: true, mtu: 1400 }),
    prepare: (_, network) => network.attach(),
  },
  'layer 2': { config: () => ({ isDefaultGateway: false, ipam: {} }) },
  'layer 2, interface down': { config: () => ({ isDefaultGateway: false, ipam: {}, disableContainerInterface: true }) },
  'an address plugin that is a program of its own': {
    config: () => ({ ipMasq: true, cniVersion: '1.0.0' }),
    options: { environment: { CNI_PATH: goPluginDirectory } },
  },
  'a bridge that was there, down, plain, with another address': {
    config: host => ({ ipMasq: true, forceAddress: true, promiscMode: true, ipam: dualStack(host) }),
    prepare: host => {
      host.ip(`link add br0 address 52:54:00:00:00:03 type bridge
addr add 10.99.0.1/24 dev br0
addr add 10.99.0.2/24 brd + dev br0
addr add fd00:88::77/64 dev br0 nodad
link add was type veth peer name once
link set was master br0
link set br0 up
link del was
link set br0 down
addr add fd00:88::77/64 dev br0 nodad`)
    },
  },
}

for (const [situation, { config, options, prepare }] of Object.entries(situations))
  t.test(`a failure at any step of ADD leaves the host as it was: ${situation}`, t =>
    withHost(t, host => {
      host.allowForwarding()
      const network = new Network(host, config?.(host))
      prepare?.(host, network)
      const container = host.createContainer()
      const before = snapshot(host)
      const { steps, attachment } = failEveryStep(t, network, { ...options, container }, claim =>
        t.same(
          differences(before, snapshot(host)).filter(line => !isEmptyTable(line)),
          [],
          `${claim}: the host`,
        ),
      )
      t.equal(attachment.check().stdout, '', 'without a failure ADD is complete')
      t.ok(steps >= 2, `${steps} steps were made to fail`)
    }),
  )

const deafReaders: Readonly<Record<string, readonly string[]>> = {
  'is a full disk': ['/bin/bash', '-c', 'exec "$0" >/dev/full'],
  'is a pipe that nobody reads': ['/bin/bash', '-o', 'pipefail', '-c', '"$0" | true'],
  'is open for reading only': ['/bin/bash', '-c', 'exec "$0" 1</dev/null'],
}

for (const [how, through] of Object.entries(deafReaders))
  t.test(`ADD is undone when standard output ${how}`, t =>
    withHost(t, host => {
      host.allowForwarding()
      const network = new Network(host, { ipMasq: true, ipam: dualStack(host) })
      network.attach().del()
      const attachment = network.attachment()
      const before = snapshot(host)
      const { status, stdout } = network.run({ ...attachment.request('ADD'), through })
      t.not(status, 0)
      t.equal(stdout, '')
      t.same(attachment.container.links(), ['lo'])
      t.same(differences(before, snapshot(host)), [])
    }),
  )

t.test('a standard output that is closed is as /dev/null, and no socket of the plugin is taken for it', t =>
  withHost(t, host => {
    const network = new Network(host, { ipMasq: true })
    const attachment = network.attachment()
    const through = ['/bin/bash', '-c', 'exec "$0" >&- <&0']
    t.equal(network.run({ ...attachment.request('ADD'), through }).status, 0)
    t.same(attachment.container.addresses('eth0'), ['10.88.0.2/24'])
    attachment.del()
    t.same(attachment.container.links(), ['lo'])
  }),
)

t.test('ADD is complete although standard error is closed or full', t =>
  withHost(t, host => {
    const network = new Network(host, { ipMasq: true })
    for (const redirection of ['2>&-', '2>/dev/full']) {
      const through = ['/bin/bash', '-c', `exec "$0" ${redirection}`]
      const { result } = network.run({ ...network.attachment().request('ADD'), through })
      t.match(result, { ips: [{ interface: 2 }] }, redirection)
    }
  }),
)
