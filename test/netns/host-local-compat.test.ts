/** Our host-local and the Go plugin on one directory at the same time. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { Host, NetworkNamespace } from '../harness/index.ts'
import {
  answerOf,
  goPluginDirectory,
  mustRunPlugin,
  pluginDirectory,
  repetitions,
  runPlugin,
  startPlugin,
  withHost,
} from '../harness/index.ts'

const kinds = { ours: pluginDirectory, go: goPluginDirectory } as const
type Kind = keyof typeof kinds

function configOf(host: Host, ranges: readonly (readonly object[])[]) {
  const ipam = { type: 'host-local', dataDir: host.dataDirectory, ranges }
  return { cniVersion: '1.0.0', name: 'net', type: 'bridge', ipam }
}

const dualRanges = [[{ subnet: '10.1.0.0/26' }], [{ subnet: 'fd00::/64' }]]

function addressFiles(host: Host): string[] {
  const directory = join(host.dataDirectory, 'net')
  return existsSync(directory) ? readdirSync(directory).filter(name => /^[0-9a-f]+[.:]/.test(name)) : []
}

/** ADD and DEL of one attachment after the other, each by whichever plugin's turn it is. */
async function worker(t: Test, host: Host, netns: NetworkNamespace, name: string, rounds: number, inUse: Set<string>) {
  const config = configOf(host, dualRanges)
  const held: { id: string; addresses: string[] }[] = []
  const run = async (kind: Kind, command: string, id: string) => {
    const options = { host, command, config, containerId: id, netns, pluginDir: kinds[kind] }
    const answer = answerOf(await startPlugin('host-local', options).ended)
    if (answer.status !== 0) t.fail(`${kind} ${command}: ${answer.stdout} ${answer.stderr}`)
    return answer
  }
  const release = async (kind: Kind) => {
    const oldest = held.shift()
    if (oldest === undefined) return
    for (const address of oldest.addresses) inUse.delete(address)
    await run(kind, 'DEL', oldest.id)
  }
  for (let round = 0; round < rounds; round++) {
    const kind: Kind = (round + name.length) % 2 === 0 ? 'ours' : 'go'
    const { result } = await run(kind, 'ADD', `${name}-${round}`)
    const addresses = (result?.ips ?? []).map(({ address }) => address)
    if (addresses.length !== 2) t.fail(`${kind} gives ${addresses.length} addresses`)
    for (const address of addresses) {
      if (inUse.has(address)) t.fail(`${kind} hands out ${address}, which is in use`)
      inUse.add(address)
    }
    held.push({ id: `${name}-${round}`, addresses })
    // The other plugin gives back what this one took.
    if (held.length > 5) await release(kind === 'ours' ? 'go' : 'ours')
  }
  while (held.length > 0) await release(held.length % 2 === 0 ? 'ours' : 'go')
}

t.test('both at once hand out no address twice, and each gives back what the other took', async t => {
  await withHost(t, async host => {
    const netns = host.createContainer()
    const inUse = new Set<string>()
    await Promise.all(['w', 'ww', 'www', 'wwww'].map(name => worker(t, host, netns, name, 40, inUse)))
    t.same(addressFiles(host), [], 'every address is given back')
    t.equal(inUse.size, 0)
  })
})

t.test('a pool filled by both in turn holds each address once, and then both are refused', async t => {
  await withHost(t, host => {
    const netns = host.createContainer()
    const config = configOf(host, [[{ subnet: '10.1.0.0/28' }]])
    const options = (kind: Kind, command: string, containerId: string) => ({
      host,
      command,
      config,
      containerId,
      netns,
      pluginDir: kinds[kind],
    })
    const given = Array.from({ length: 13 }, (_, index) => {
      const { result } = mustRunPlugin('host-local', options(index % 2 === 0 ? 'ours' : 'go', 'ADD', `c${index}`))
      return result?.ips?.[0]?.address
    })
    t.same(
      given,
      Array.from({ length: 13 }, (_, index) => `10.1.0.${index + 2}/28`),
      'in one common turn',
    )
    const text = 'failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.14'
    t.equal(runPlugin('host-local', options('ours', 'ADD', 'more')).error?.msg, text)
    t.equal(runPlugin('host-local', options('go', 'ADD', 'more')).error?.msg, text, 'with the same words')
    for (let index = 0; index < 13; index++) {
      const other: Kind = index % 2 === 0 ? 'go' : 'ours'
      const answer = runPlugin('host-local', {
        ...options(other, 'CHECK', `c${index}`),
        config: { ...config, prevResult: { cniVersion: '1.0.0', ips: [{ address: given[index] }] } },
      })
      t.equal(answer.status, 0, `${other} finds what the other took: ${answer.stdout}`)
      mustRunPlugin('host-local', options(other, 'DEL', `c${index}`))
    }
    t.same(addressFiles(host), [])
  })
})

t.test('our host-local serves many at once: each gets addresses of its own', async t => {
  await withHost(t, async host => {
    const netns = host.createContainer()
    const config = configOf(host, dualRanges)
    const ids = Array.from({ length: repetitions(40) }, (_, index) => `c${index}`)
    const all = (command: string) =>
      Promise.all(
        ids.map(async containerId =>
          answerOf(await startPlugin('host-local', { host, command, config, containerId, netns }).ended),
        ),
      )
    const answers = await all('ADD')
    t.same(
      answers.flatMap(({ error }) => error ?? []),
      [],
    )
    t.equal(
      new Set(answers.flatMap(({ result }) => result?.ips?.map(({ address }) => address) ?? [])).size,
      2 * ids.length,
    )
    const deletions = await all('DEL')
    t.same(
      deletions.flatMap(({ error }) => error ?? []),
      [],
    )
    t.same(addressFiles(host), [])
  })
})
