/** What the tests of the host plugin share. */

import {
  type Answer,
  createOutside,
  type Host,
  mustRunPlugin,
  outsideAddresses,
  type PluginOptions,
  runPlugin,
} from '../harness/index.ts'

/** Keys beyond, or other than, those of a good configuration. */
export const configOf = (keys: object = {}) => ({ cniVersion: '1.1.0', name: 'hostnet', type: 'host', ...keys })

/** A mapping list as a runtime gives it. */
export const ports = (...portMappings: readonly object[]): object => ({ runtimeConfig: { portMappings } })

export type HostOptions = Omit<PluginOptions, 'host' | 'command' | 'config'>

const optionsOf = (host: Host, command: string, keys: object, options: HostOptions): PluginOptions => ({
  host,
  command,
  config: configOf(keys),
  containerId: 'container-1',
  netns: host,
  ...options,
})

/** Runs the plugin on the host, whose namespace it is given. */
export const run = (host: Host, command: string, keys: object = {}, options: HostOptions = {}): Answer =>
  runPlugin('host', optionsOf(host, command, keys, options))

/** As run(), and it must succeed. */
export const mustRun = (host: Host, command: string, keys: object = {}, options: HostOptions = {}): Answer =>
  mustRunPlugin('host', optionsOf(host, command, keys, options))

/** A host with the uplink of createOutside(), and what its result is: interfaces, ips, routes. */
export function prepareUplink(host: Host) {
  createOutside(host)
  const { host: ours, outside } = outsideAddresses
  return {
    interfaces: [{ name: 'uplink', mac: host.macOf('uplink'), mtu: 1500 }],
    ips: [
      { interface: 0, address: `${ours.ipv4}/24`, gateway: outside.ipv4 },
      { interface: 0, address: `${ours.ipv6}/64`, gateway: outside.ipv6 },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: outside.ipv4 },
      { dst: '::/0', gw: outside.ipv6, priority: 1024 },
    ],
  }
}
