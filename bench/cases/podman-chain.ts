/** Podman's own chain, called as libcni does: bridge, portmap with a port, firewall, tuning; DEL the other way round. */

import { alternate, type Case, noSamples, type Samples, sides } from '../case.ts'
import type { Contender } from '../contender.ts'
import { answer, type Command, measure } from '../process.ts'
import type { Timing } from './attachment.ts'

interface PluginConfig {
  readonly type: string
  readonly [key: string]: unknown
}

/** 87-podman-bridge.conflist of Podman 4, with what Podman adds for "--publish 8080:80". */
function plugins(contender: Contender): readonly PluginConfig[] {
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '' }]
  // The only address there is: what the plugins after bridge are given stays right.
  const range = { subnet: '10.79.0.0/16', rangeStart: '10.79.0.5', rangeEnd: '10.79.0.5' }
  return [
    {
      type: 'bridge',
      bridge: 'cni-podman0',
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        routes: [{ dst: '0.0.0.0/0' }],
        ranges: [[range]],
        dataDir: contender.host.dataDirectory,
      },
    },
    { type: 'portmap', capabilities: { portMappings: true }, runtimeConfig: { portMappings } },
    { type: 'firewall' },
    { type: 'tuning' },
  ]
}

interface Chain {
  /** In the order of the chain. */
  readonly adds: readonly Command[]
  readonly dels: readonly Command[]
}

/** Prepares every call with the result that the plugin before it gives, which a first round tells. */
function chainOf(contender: Contender): Chain {
  const netns = contender.host.createContainer()
  const configs = plugins(contender).map(keys => ({ cniVersion: '0.4.0', name: 'podman', ...keys }))
  let prevResult: unknown
  const adds = configs.map(config => {
    const call = { plugin: config.type, containerId: 'podman-chain', netns, config: { ...config, prevResult } }
    const add = contender.prepare({ ...call, command: 'ADD' })
    contender.inside(() => measure(add))
    prevResult = JSON.parse(answer(add))
    return add
  })
  const dels = configs.toReversed().map(config => {
    const call = { plugin: config.type, containerId: 'podman-chain', netns, config: { ...config, prevResult } }
    const del = contender.prepare({ ...call, command: 'DEL' })
    contender.inside(() => measure(del))
    return del
  })
  return { adds, dels }
}

function time(contender: Contender, { adds, dels }: Chain): Timing {
  const all = (commands: readonly Command[]) => commands.reduce((total, command) => total + measure(command), 0)
  return contender.inside(() => ({ add: all(adds), del: all(dels) }))
}

export const podmanChain: Case = {
  name: 'podman-chain',
  run(contenders, runs) {
    const chains = Object.fromEntries(sides.map(side => [side, chainOf(contenders[side])])) as Record<
      (typeof sides)[number],
      Chain
    >
    const [add, del]: [Samples, Samples] = [noSamples(), noSamples()]
    alternate(runs, side => {
      const timing = time(contenders[side], chains[side])
      add[side].push(timing.add)
      del[side].push(timing.del)
    })
    const what = 'bridge, portmap with a port, firewall, tuning'
    return [
      { what: `Podman's chain ADD, ${what}`, unit: 'ms', ...add },
      { what: `Podman's chain DEL, ${what}`, unit: 'ms', ...del },
    ]
  },
}
