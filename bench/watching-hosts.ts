/**
 * Plays the agents of many hosts that have one network: each watches its endpoints over a connection of its own. Prints
 * JSON, see WatchingSamples. One process reads for all of them, so the figures are what etcd does at least.
 * Usage: watching-hosts.js <JSON of WatchingHosts>
 */

import { EtcdClient } from '../overlayd/etcd/client.ts'
import { NodeLease } from '../overlayd/etcd/lease.ts'
import { Store, type View } from '../overlayd/etcd/store.ts'
import { Log } from '../overlayd/log.ts'
import { manyEndpoints } from '../test/netns/overlayd-many.ts'

export interface WatchingHosts {
  /** Client URLs of etcd. */
  readonly endpoints: readonly string[]
  readonly hosts: number
  /** Changes one by one, and then as many as fast as they can be made. */
  readonly changes: number
}

export interface WatchingSamples {
  /** Milliseconds from before a change until the last of the hosts has it. */
  readonly last: readonly number[]
  /** Events that reached hosts in a second while changes were made as fast as they can be. */
  readonly events: number
}

/** Changes that are under way at the same time: as many hosts start containers at once. */
const AT_ONCE = 16
const PATIENCE_MS = 60_000

const { endpoints, hosts, changes }: WatchingHosts = JSON.parse(process.argv[2] ?? '{}')
const log = new Log('error')

function connect(): Store {
  const client = new EtcdClient({ endpoints, tls: {} })
  return new Store(client, '/cnikit/v1/', new NodeLease(client, 60, log), log)
}

async function allHave(views: readonly View<unknown>[], revision: number): Promise<void> {
  const outcomes = await Promise.all(views.map(view => view.reaches(revision, PATIENCE_MS)))
  if (outcomes.includes(false)) throw new Error(`not all hosts have heard within ${PATIENCE_MS} ms`)
}

const writer = connect()
const records = [...manyEndpoints(2 * changes + 1)]
let written = 0
async function change(): Promise<number> {
  const [put = '', value] = records[written++] ?? []
  const { revision } = await writer.transaction([], [{ put, value }])
  return revision
}

const views = Array.from({ length: hosts }, () => connect().watch('endpoints/web/', () => {}))
await Promise.all(views.map(view => view.ready))
await allHave(views, await change())

const last: number[] = []
for (let round = 0; round < changes; round++) {
  const started = performance.now()
  await allHave(views, await change())
  last.push(performance.now() - started)
}

const started = performance.now()
const revisions: number[] = []
const writers = Array.from({ length: AT_ONCE }, async () => {
  while (written < records.length) revisions.push(await change())
})
await Promise.all(writers)
await allHave(views, Math.max(...revisions))
const events = (hosts * revisions.length) / ((performance.now() - started) / 1000)

process.stdout.write(`${JSON.stringify({ last, events } satisfies WatchingSamples)}\n`, () => process.exit())
