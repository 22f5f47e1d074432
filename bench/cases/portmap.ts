/** Published ports: ADD and DEL of one and of many, beside thousands on the host, and connections to one of them. */

import { join } from 'node:path'
import { createOutside, type NetworkNamespace, outsideAddresses, repositoryRoot } from '../../test/harness/index.ts'
import { peer } from '../../test/netns/mesh-fixture.ts'
import { alternate, type Case, noSamples, type Row, type Samples, type Side, sides } from '../case.ts'
import { Contender } from '../contender.ts'
import { measure } from '../process.ts'
import { type Attachment, attachmentOf, onBothSides, timeInTurn } from './attachment.ts'

const CONNECTIONS = 2_000
/** On the host besides: so many containers with so many ports each. */
const CROWD = { containers: 25, ports: 200 } as const

interface Ports {
  readonly first: number
  readonly count: number
}

/** The configuration of a container at an address; each port leads to another one, so that no two make a range. */
function configOf(address: string, { first, count }: Ports) {
  return {
    cniVersion: '1.0.0',
    name: 'portmap',
    type: 'portmap',
    capabilities: { portMappings: true },
    runtimeConfig: {
      portMappings: Array.from({ length: count }, (_, index) => ({
        hostPort: first + index,
        containerPort: 80 + index,
        protocol: 'tcp',
      })),
    },
    prevResult: {
      cniVersion: '1.0.0',
      interfaces: [{ name: 'cni0' }, { name: 'eth0', sandbox: '/run/netns/container' }],
      ips: [{ interface: 1, address: `${address}/16` }],
    },
  }
}

const one: Ports = { first: 8080, count: 1 }
const many: Ports = { first: 30_000, count: 200 }

function attachment(contender: Contender, ports: Ports): Attachment {
  return attachmentOf(contender, 'portmap', configOf('10.80.0.5', ports), `portmap-${ports.count}`)
}

/** A host with a bridge for containers, an outside, and one container that answers on port 80. */
async function prepare({ host }: Contender): Promise<NetworkNamespace> {
  host.allowForwarding()
  const outside = createOutside(host)
  const container = host.createContainer()
  host.ip(`
link add cni0 type bridge
addr add 10.80.0.1/16 dev cni0
link set cni0 up
link add port0 type veth peer name eth0 netns ${container.name}
link set port0 master cni0 up`)
  container.ip(`
link set lo up
addr add 10.80.0.5/16 dev eth0
link set eth0 up
route add default via 10.80.0.1`)
  host.ip('link show dev port0')
  await host.start(peer('serve', 'one', 80), { inside: container }).says(/listening/)
  return outside
}

/** Thousands of ports of others. The Go plugin's rules, which it takes minutes to make, are made by our iptables back end. */
function addCrowd(side: Side, contender: Contender): void {
  const maker = side === 'ours' ? contender : new Contender('ours', contender.host)
  for (let index = 0; index < CROWD.containers; index++) {
    const ports = { first: 10_000 + index * CROWD.ports, count: CROWD.ports }
    const config = { ...configOf(`10.80.1.${index + 1}`, ports), backend: side === 'ours' ? 'nftables' : 'iptables' }
    const call = { plugin: 'portmap', containerId: `crowd-${index}`, netns: contender.host.createContainer() }
    const add = maker.prepare({ ...call, command: 'ADD', config })
    contender.inside(() => measure(add))
  }
}

/** Connections a second from outside to the published port, while its container has it. */
function connections(both: Record<Side, Contender>, outsides: Record<Side, NetworkNamespace>, rounds: number): Samples {
  const program = join(repositoryRoot, 'dist/node/bench/mesh-connections.js')
  const argv = [process.execPath, program, outsideAddresses.host.ipv4, String(one.first), String(CONNECTIONS)]
  const rates = noSamples()
  const commands = { go: published(both.go), ours: published(both.ours) }
  for (const side of sides) both[side].inside(() => measure(commands[side].add))
  alternate(rounds, side => {
    rates[side].push(Number(outsides[side].output(argv, { timeoutMs: 120_000 })))
  })
  for (const side of sides) both[side].inside(() => measure(commands[side].del))
  return rates
}

function published(contender: Contender) {
  const call = { plugin: 'portmap', containerId: 'published', netns: contender.host.createContainer() }
  const config = configOf('10.80.0.5', one)
  return {
    add: contender.prepare({ ...call, command: 'ADD', config }),
    del: contender.prepare({ ...call, command: 'DEL', config }),
  }
}

export const portmap: Case = {
  name: 'portmap',
  async run(_, runs) {
    const both = { go: new Contender('go'), ours: new Contender('ours') }
    try {
      const outsides = { go: await prepare(both.go), ours: await prepare(both.ours) }
      const rounds = Math.max(5, Math.ceil(runs / 6))
      const single = onBothSides(both, contender => attachment(contender, one))
      const large = onBothSides(both, contender => attachment(contender, many))
      const alone = timeInTurn(single, runs)
      const largeAlone = timeInTurn(large, Math.max(3, Math.ceil(runs / 10)))
      const rates = connections(both, outsides, rounds)
      for (const side of sides) addCrowd(side, both[side])
      const beside = timeInTurn(single, runs)
      const ratesBeside = connections(both, outsides, rounds)
      const others = `${CROWD.containers * CROWD.ports} ports on the host`
      const rows: Row[] = [
        { what: 'portmap ADD, one port', unit: 'ms', ...alone.add, target: 'at most 0.4' },
        { what: 'portmap DEL, one port', unit: 'ms', ...alone.del, target: 'at most 0.25' },
        { what: 'portmap ADD, 200 ports', unit: 'ms', ...largeAlone.add },
        { what: 'portmap DEL, 200 ports', unit: 'ms', ...largeAlone.del },
        { what: `portmap ADD, one port, ${others}`, unit: 'ms', ...beside.add },
        { what: `portmap DEL, one port, ${others}`, unit: 'ms', ...beside.del },
        { what: 'connections to a published port', unit: 'per s', ...rates },
        { what: `connections to a published port, ${others}`, unit: 'per s', ...ratesBeside },
      ]
      return [
        ...rows,
        growth(`portmap ADD, one port, ${others}`, 'ms', beside.add, alone.add, 'at most 1.1'),
        growth(`connections to a published port, ${others}`, 'per s', ratesBeside, rates, 'flat'),
      ]
    } finally {
      for (const side of sides) {
        await both[side].host.stopChildren()
        both[side].host.remove()
      }
    }
  },
}

/** Ours beside many, compared with ours alone. */
function growth(what: string, unit: Row['unit'], beside: Samples, alone: Samples, target: string): Row {
  return { what, unit, go: [], ours: beside.ours, base: { name: 'the same alone', samples: alone.ours }, target }
}
