/** Addresses of a pool on the hosts of a cluster: executables, agents and an etcd, each on a host of its own. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import {
  type Answer,
  answerOf,
  type Child,
  type ClusterHost,
  Etcd,
  mustRunPlugin,
  Network,
  runPlugin,
  startPlugin,
  until,
  withCluster,
} from '../harness/index.ts'

const agentProgram = fileURLToPath(new URL('./blocks-agent.js', import.meta.url))

/** How long others leave a silent node's blocks alone, in these tests. */
const DEAD_AFTER = 6

/** A host with its agent, and the networks on it. */
class Node {
  readonly host: ClusterHost
  readonly #etcd: Etcd
  #agent: Child | undefined

  constructor(host: ClusterHost, etcd: Etcd) {
    this.host = host
    this.#etcd = etcd
  }

  get name(): string {
    return `node-${this.host.number}`
  }

  async start(): Promise<void> {
    const argv = [process.execPath, agentProgram, this.name, ...this.#etcd.endpoints, String(DEAD_AFTER), '1']
    this.#agent = this.host.start(argv)
    await this.#agent.says(/listening/)
  }

  async stop(): Promise<void> {
    await this.#agent?.stop('SIGKILL')
  }

  #options(command: string, containerId: string, ipam: object, args?: string) {
    const config = { cniVersion: '1.1.0', name: 'web', type: 'bridge', ipam: { type: 'cluster', ...pool, ...ipam } }
    return { host: this.host, command, containerId, netns: '/run/netns/none', config, args }
  }

  add(containerId: string, { ipam = {}, ip }: { ipam?: object; ip?: string } = {}): Answer {
    return runPlugin('cluster', this.#options('ADD', containerId, ipam, ip && `IP=${ip}`))
  }

  startAdd(containerId: string): Child {
    return startPlugin('cluster', this.#options('ADD', containerId, {}))
  }

  del(containerId: string, ipam: object = {}): Answer {
    return runPlugin('cluster', this.#options('DEL', containerId, ipam))
  }

  blocks(): string[] {
    try {
      const text = readFileSync(join(this.host.stateDirectory, 'cni/cluster/web/blocks.json'), 'utf8')
      return (JSON.parse(text) as { blocks: { prefix: string }[] }).blocks.map(({ prefix }) => prefix)
    } catch {
      return []
    }
  }
}

const pool = { subnet: '10.1.0.0/22', blockLength: 28, coolDown: 60 }

async function withNodes(t: Test, count: number, use: (nodes: readonly Node[], etcd: Etcd) => Promise<void>) {
  await withCluster(t, { hosts: count }, async cluster => {
    const etcd = await Etcd.start(cluster)
    const nodes = cluster.hosts.map(host => new Node(host, etcd))
    await Promise.all(nodes.map(node => node.start()))
    await use(nodes, etcd)
  })
}

function addressIn({ result, stdout }: Answer): string {
  const address = result?.ips?.[0]?.address
  if (address === undefined) throw new Error(`no address: ${stdout}`)
  return address.replace(/\/.*/, '')
}

/** The two of a cluster of two. */
function pair(nodes: readonly Node[]): [Node, Node] {
  const [first, second] = nodes
  if (first === undefined || second === undefined) throw new Error('two nodes are wanted')
  return [first, second]
}

t.test("on five hosts that take and give back at the same time, no address is anybody else's", async t => {
  await withNodes(t, 5, async (nodes, etcd) => {
    const held = new Map<string, string>()
    const given = new Set<string>()
    const work = async (node: Node, lane: number): Promise<void> => {
      for (let round = 0; round < 8; round++) {
        const id = `${node.name}-${lane}-${round}`
        const address = addressIn(answerOf(await node.startAdd(id).ended))
        if (held.has(address)) t.fail(`${address} is ${held.get(address)}'s, and was given to ${id}`)
        if (given.has(address)) t.fail(`${address} was used again within its cool-down`)
        held.set(address, id)
        given.add(address)
        if (round % 2 === 0) {
          held.delete(address)
          t.equal(node.del(id).status, 0)
        }
      }
    }
    await Promise.all(nodes.flatMap(node => [1, 2, 3].map(lane => work(node, lane))))
    t.equal(given.size, 5 * 3 * 8)
    await until(
      'etcd and the hosts agree',
      () => nodes.flatMap(node => node.blocks()).length === etcd.keys('blocks/web/').length,
    )
    const blocks = nodes.flatMap(node => node.blocks())
    t.equal(new Set(blocks).size, blocks.length, 'no block has two hosts')
  })
})

t.test('a plugin or an agent that is killed at any moment', async t => {
  await withNodes(t, 2, async ([...nodes]) => {
    const [first, second] = pair(nodes)
    const held = new Map<string, string>()
    for (let round = 0; round < 12; round++) {
      const adds = [1, 2, 3, 4].map(lane => [`k${round}-${lane}`, first.startAdd(`k${round}-${lane}`)] as const)
      await pause(round * 3)
      if (round % 3 === 2) {
        await first.stop()
        await first.start()
      } else adds[0]?.[1].signal('SIGKILL')
      for (const [id, child] of adds) {
        const outcome = await child.ended
        // Killed, or without an agent: run again, it gets what it had or something new.
        const answer = outcome.status === 0 ? answerOf(outcome) : first.add(id)
        const address = addressIn(answer)
        if (held.has(address)) t.fail(`${address} is ${held.get(address)}'s, and was given to ${id}`)
        held.set(address, id)
      }
      const other = addressIn(second.add(`other-${round}`))
      t.notOk(held.has(other), `${other} is nobody else's`)
      held.set(other, `other-${round}`)
    }
    for (const [address, id] of held) {
      const node = id.startsWith('other') ? second : first
      t.equal(addressIn(node.add(id)), address, 'everybody has what he had')
    }
  })
})

t.test('etcd is away', async t => {
  await withNodes(t, 1, async ([node], etcd) => {
    if (node === undefined) throw new Error('a node is wanted')
    node.add('before')
    await etcd.stop()
    t.equal(node.add('meanwhile').status, 0, 'ADD works while the block has room')
    const small = { coolDown: 0 }
    t.equal(node.del('meanwhile', small).status, 0)
    await until('the block is full', () => node.add('late').error?.code === 11)
    const { error } = node.add('later')
    t.equal(error?.code, 11, 'and ends when the lease has run out')
    t.match(`${error?.msg} ${error?.details}`, /lease of this node's address blocks ran out/)
    t.equal(node.del('before').status, 0, 'DEL goes on')
    await etcd.start()
    await until('etcd is back', () => node.add('again').status === 0)
    t.equal(node.blocks().length, 1, 'nobody has taken the block: when etcd is away, no lease runs out')
  })
})

t.test('a host that is dead loses its blocks after the stated time, and finds out when it is back', async t => {
  await withNodes(t, 2, async (nodes, etcd) => {
    const [first, second] = pair(nodes)
    const small = { subnet: '10.1.0.0/28', blockLength: 28 }
    const address = addressIn(first.add('one', { ipam: small }))
    const refused = second.add('two', { ipam: small })
    t.equal(refused.error?.code, 102)
    t.match(refused.error?.details, /node-1 1/)
    await first.stop()
    t.equal(second.add('two', { ipam: small }).error?.code, 102, 'not at once')
    await until('a lease has run out', () => etcd.keys('block-leases/').length === 1)
    t.equal(addressIn(second.add('two', { ipam: small, ip: address })), address)
    t.equal(first.add('three', { ipam: small }).error?.code, 11, 'without its agent it hands out nothing any more')
    await first.start()
    t.same(first.blocks(), [])
    t.equal(first.add('three', { ipam: small }).error?.code, 102)
    t.equal(first.del('one', small).status, 0)
    t.equal(addressIn(second.add('two', { ipam: small })), address, 'the other keeps what it has')
  })
})

t.test('a host that is cut off', async t => {
  await withNodes(t, 2, async (nodes, etcd) => {
    const [first, second] = pair(nodes)
    first.add('one')
    const before = first.blocks()
    first.host.disconnect()
    t.equal(first.add('two').status, 0, 'goes on for the stated time')
    await until('a lease has run out', () => etcd.keys('block-leases/').length === 1)
    t.equal(first.add('three').error?.code, 11, 'and no longer')
    second.add('other')
    t.notSame(second.blocks(), before, 'its block is kept while there are others')
    first.host.reconnect()
    await until('it can ask again', () => first.add('three').status === 0)
    t.same(first.blocks(), before, 'back, it has its block')
  })
})

t.test('an address asked for by name moves between hosts', async t => {
  await withNodes(t, 3, async ([first, second, third], etcd) => {
    if (first === undefined || second === undefined || third === undefined) throw new Error('three nodes are wanted')
    t.equal(addressIn(first.add('moving', { ip: '10.1.1.5' })), '10.1.1.5')
    t.match(second.add('thief', { ip: '10.1.1.5' }).error, { code: 103, msg: /moving eth0 on node node-1/ })
    first.del('moving')
    t.equal(addressIn(second.add('moving', { ip: '10.1.1.5' })), '10.1.1.5')
    t.same(etcd.keys('pins/'), ['pins/web/10.1.1.5'])
    second.del('moving')
    t.equal(addressIn(third.add('moving', { ip: '10.1.1.5' })), '10.1.1.5')
    third.del('moving')
    await until('the address is given back', () => etcd.keys('pins/').length === 0)
    t.equal(addressIn(first.add('moving', { ip: '10.1.1.5' })), '10.1.1.5', 'home')
  })
})

t.test('containers of two hosts on one network behind their interfaces reach each other', async t => {
  await withNodes(t, 2, async nodes => {
    const ipam = { type: 'cluster', ranges: [[pool], [{ subnet: 'fd00:1::/64' }]] }
    const config = { cniVersion: '1.1.0', name: 'lan', type: 'macvlan', master: 'uplink', ipam }
    const attached = nodes.map(({ host }) => {
      const netns = host.createContainer()
      const options = { host, containerId: `c${host.number}`, netns, config }
      const { result } = mustRunPlugin('macvlan', { ...options, command: 'ADD' })
      return {
        netns,
        options,
        result,
        addresses: (result?.ips ?? []).map(({ address }) => address.replace(/\/.*/, '')),
      }
    })
    const [one, other] = attached
    t.equal(new Set(attached.flatMap(({ addresses }) => addresses)).size, 4, 'one of each family, and no two alike')
    for (const address of other?.addresses ?? []) t.equal(one?.netns.pings(address, 3), true, `${address} answers`)
    for (const { options, result } of attached) {
      const withResult = { ...options, config: { ...config, prevResult: result } }
      mustRunPlugin('macvlan', { ...withResult, command: 'CHECK' })
      mustRunPlugin('macvlan', { ...withResult, command: 'DEL' })
    }
  })
})

t.test('a bridge on each host, with the same gateway and addresses of one pool', async t => {
  await withNodes(t, 2, async nodes => {
    const given = nodes.map(({ host }) => {
      const network = new Network(host, { name: 'web', ipam: { type: 'cluster', ...pool } })
      const attachment = network.attach()
      const { ips } = attachment.result
      t.equal(ips?.[0]?.gateway, '10.1.0.1')
      t.equal(attachment.container.pings('10.1.0.1', 3), true, 'the gateway answers')
      attachment.check()
      attachment.del()
      return ips?.[0]?.address
    })
    t.not(given[0], given[1])
  })
})

t.test('blocks that are empty are given back', async t => {
  await withNodes(t, 1, async ([node], etcd) => {
    if (node === undefined) throw new Error('a node is wanted')
    const ipam = { coolDown: 1 }
    const ids = Array.from({ length: 30 }, (_, number) => `c${number}`)
    for (const id of ids) node.add(id, { ipam })
    t.ok(node.blocks().length > 1)
    for (const id of ids) node.del(id, ipam)
    await until('the host has one', () => node.blocks().length === 1)
    await until('so has etcd', () => etcd.keys('blocks/web/').length === 1)
    t.pass('all but the last')
  })
})
