/** cluster's addresses out of a block that the node holds, beside host-local's. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { currentBoot } from '../../ipam/allocator/index/stamp.ts'
import { addressDirectory, writeBlockLease, writeHeldBlocks } from '../../ipam/cluster/state-files.ts'
import { bootTimeSeconds } from '../../lib/sys/clock.ts'
import { type Case, noSamples, type Row, type Samples } from '../case.ts'
import type { Contender } from '../contender.ts'
import { type Attachment, attachmentOf } from './attachment.ts'

const subnet = '10.77.0.0/16'
const block = '10.77.16.0/20'

type Timings = Record<'add' | 'del', Samples>

function attachment(contender: Contender, plugin: string, name: string, ipam: object): Attachment {
  return attachmentOf(
    contender,
    plugin,
    { cniVersion: '1.0.0', name, type: 'bridge', ipam: { type: plugin, ...ipam } },
    'one',
  )
}

/** A network with a block, as overlayd leaves it on the node. */
function clusterNetwork(contender: Contender, name: string, coolDown: number): Attachment {
  const dataDir = join(contender.host.directory, 'cluster')
  const boot = currentBoot()
  if (boot === undefined) throw new Error('/proc/sys/kernel/random/boot_id cannot be read')
  mkdirSync(addressDirectory(dataDir, name), { recursive: true })
  writeBlockLease(dataDir, { version: 1, node: 'bench', boot, expires: bootTimeSeconds() + 3600 })
  writeHeldBlocks(dataDir, name, {
    version: 1,
    pool: name,
    node: 'bench',
    blocks: [{ prefix: block, lent: [] }],
    borrowed: [],
    rangeSets: [],
    coolDownSeconds: coolDown,
  })
  return attachment(contender, 'cluster', name, { subnet, blockLength: 20, coolDown, dataDir })
}

export const clusterIpam: Case = {
  name: 'cluster-ipam',
  run({ ours }, runs) {
    const none = (): Timings => ({ add: noSamples(), del: noSamples() })
    const hostLocal = {
      attachment: attachment(ours, 'host-local', 'beside', { subnet, dataDir: ours.host.dataDirectory }),
      ...none(),
    }
    const cluster = { attachment: clusterNetwork(ours, 'cool', 60), ...none() }
    const all = [hostLocal, cluster]
    for (let round = 0; round < runs; round++) {
      for (const one of round % 2 === 0 ? all : all.toReversed()) {
        const timing = one.attachment.time()
        one.add.ours.push(timing.add)
        one.del.ours.push(timing.del)
      }
    }
    const row = (verb: 'add' | 'del'): Row => ({
      what: `cluster ${verb.toUpperCase()} in a held block`,
      unit: 'ms',
      go: [],
      ours: cluster[verb].ours,
      base: { name: 'host-local', samples: hostLocal[verb].ours },
      target: 'at most 1.2',
    })
    return [
      { what: 'host-local ADD beside it', unit: 'ms', ...hostLocal.add },
      { what: 'host-local DEL beside it', unit: 'ms', ...hostLocal.del },
      row('add'),
      row('del'),
    ]
  },
}
