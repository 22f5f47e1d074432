/** What the tests of port forwarding with iptables share. */

import { parseAddress } from '../../lib/address/address.ts'
import type { Attachment } from '../../lib/firewall/attachment.ts'
import { iptablesPortForwarding } from '../../lib/firewall/iptables/port-forwarding.ts'
import type { KnownForwarding, PortForwarding, PortMapping } from '../../lib/firewall/port-forwarding-intent.ts'
import {
  type Answer,
  goPluginDirectory,
  type Host,
  type NetworkNamespace,
  programPath,
  runPlugin,
} from '../harness/index.ts'
import { inside, prefix } from './firewall-fixture.ts'

const options = { environment: { PATH: programPath } }

export const attachment = (containerId: string, ifname = 'eth0', network = 'podnet'): Attachment => ({
  network,
  containerId,
  ifname,
})

/** "8080:80/tcp", "192.0.2.1=8080:80/udp" */
export function mapping(text: string): PortMapping {
  const [, host = '', hostPort, containerPort, transport] = /^(?:(.*)=)?(\d+):(\d+)\/(tcp|udp|sctp)$/.exec(text) ?? []
  if (transport !== 'tcp' && transport !== 'udp' && transport !== 'sctp') throw new TypeError(`not a mapping: ${text}`)
  return {
    transport,
    hostPort: Number(hostPort),
    containerPort: Number(containerPort),
    hostAddress: host === '' ? undefined : parseAddress(host),
  }
}

/** What is wanted unless a test says otherwise. A living namespace, so that nobody takes its ports: the test's own. */
export function forwarding(
  mappings: readonly string[],
  addresses: readonly string[],
  keys: Partial<PortForwarding> = {},
) {
  return {
    mappings: mappings.map(mapping),
    addresses: addresses.map(prefix),
    snat: true,
    masqueradeAll: false,
    preserveClientAddress: false,
    markBit: 13,
    externalMarkChain: undefined,
    conditions: { ip: [], ip6: [] },
    namespace: 0n,
    ...keys,
  } satisfies PortForwarding
}

export const dual = (number: number): string[] => [`10.1.0.${number}/16`, `fd00:1::${number}/64`]

export const add = (host: Host, whose: Attachment, wanted: PortForwarding): boolean =>
  inside(host, () => iptablesPortForwarding.add(whose, wanted, options))
export const remove = (host: Host, whose: Attachment, known: KnownForwarding = {}): void =>
  inside(host, () => iptablesPortForwarding.delete(whose, known, options))
export const check = (host: Host, whose: Attachment, wanted: PortForwarding): void =>
  inside(host, () => iptablesPortForwarding.check(whose, wanted, options))
export const gc = (host: Host, network: string, valid: readonly Attachment[]): void =>
  inside(host, () => iptablesPortForwarding.gc(network, valid, options))
export const status = (host: Host, environment = options.environment): void =>
  inside(host, () => iptablesPortForwarding.status({ environment }))

/** Both families' tables, without the lines that differ from second to second. */
export function saved(host: Host, table: 'nat' | 'filter' = 'nat', variant = ''): string {
  return ['iptables', 'ip6tables']
    .map(program => host.output([`${program}${variant}-save`, '-t', table]))
    .join('')
    .split('\n')
    .filter(line => !line.startsWith('#'))
    .join('\n')
}

/** The lines of iptables-save that are about the containers, and not about all of them. */
export const ofContainers = (text: string): string[] =>
  text
    .split('\n')
    .filter(line => line.startsWith(':CNI-DN-') || line.includes('-j CNI-DN-') || line.startsWith('-A CNI-DN-'))

/** The Go portmap plugin as the runtime calls it for the attachment. */
export function goPortmap(
  host: Host,
  command: 'ADD' | 'CHECK' | 'DEL',
  whose: Attachment,
  wanted: { readonly mappings: readonly string[]; readonly addresses: readonly string[]; readonly config?: object },
): Answer {
  const portMappings = wanted.mappings.map(mapping).map(({ hostAddress, transport, ...ports }, index) => ({
    ...ports,
    protocol: transport,
    ...(hostAddress === undefined ? {} : { hostIP: wanted.mappings[index]?.split('=')[0] }),
  }))
  return runPlugin('portmap', {
    host,
    command,
    containerId: whose.containerId,
    ifname: whose.ifname,
    netns: '/var/run/netns/none',
    pluginDir: goPluginDirectory,
    environment: options.environment,
    config: {
      cniVersion: '1.0.0',
      name: whose.network,
      type: 'portmap',
      capabilities: { portMappings: true },
      snat: true,
      ...wanted.config,
      runtimeConfig: { portMappings },
      prevResult: {
        cniVersion: '1.0.0',
        interfaces: [{ name: whose.ifname, sandbox: '/var/run/netns/none' }],
        ips: wanted.addresses.map(address => ({ interface: 0, address })),
      },
    },
  })
}

/** The number of a namespace that lives while the test does. */
export const numberOf = (namespace: NetworkNamespace): bigint =>
  BigInt(namespace.output(['stat', '-Lc', '%i', '/proc/self/ns/net']).trim())
