/** A container on a bridge network, with tuning behind the bridge in the chain. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Attachment, type AttachmentOptions, type Host, hostLocal, Network, subnets } from '../harness/index.ts'

/** A bridge network of both families. */
export function bridged(host: Host): Network {
  return new Network(host, { ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) })
}

/** tuning with these keys on that network, by our plugin or by those of another directory. */
export function tuningNetwork(host: Host, keys: object = {}, pluginDir?: string): Network {
  const config = {
    type: 'tuning',
    bridge: undefined,
    isDefaultGateway: undefined,
    ipam: undefined,
    dataDir: tuningDirectory(host),
    ...keys,
  }
  return pluginDir === undefined ? new Network(host, config) : new Network(host, config, pluginDir)
}

export function tuningDirectory(host: Host): string {
  return join(host.directory, 'tuning')
}

/** Names of the backups. */
export function backups(host: Host): string[] {
  const directory = tuningDirectory(host)
  return existsSync(directory) ? readdirSync(directory).toSorted() : []
}

/** tuning's part of an attachment to the bridge network, yet to be made. */
export function behind(main: Attachment, network: Network, options: AttachmentOptions = {}): Attachment {
  const { cniVersion } = network.config
  const config = { prevResult: { ...main.result, cniVersion }, ...options.config }
  return new Attachment(network, { ifname: main.ifname, ...options, config }, main)
}

/** What tuning can change of an interface. */
export function settingsOf(attachment: Attachment) {
  const { container, ifname, network, port } = attachment
  const [link] = container.show('link', 'show', 'dev', ifname)
  const [hostEnd] = network.host.show('link', 'show', 'dev', port)
  const flags = link?.flags as string[]
  return {
    mac: link?.address,
    mtu: link?.mtu,
    promiscuous: flags.includes('PROMISC'),
    allMulticast: flags.includes('ALLMULTI'),
    txQueueLength: link?.txqlen ?? 0,
    hostMtu: hostEnd?.mtu,
  }
}

/** A sysctl as the namespace has it. */
export function sysctlOf({ container }: Attachment, name: string): string {
  return container.output(['cat', `/proc/sys/${name}`]).trimEnd()
}
