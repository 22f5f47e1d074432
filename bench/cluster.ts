/** Hosts on an underlay, for cases that cross a network. */

import { Cluster, createHost, endHost } from '../test/harness/index.ts'

/** Measures on a cluster of so many hosts; ends what runs on them, and removes it, also when that fails. */
export async function onCluster<T>(hosts: number, measure: (cluster: Cluster) => T | Promise<T>): Promise<T> {
  const underlay = createHost()
  try {
    return await measure(await Cluster.start(underlay, { hosts }))
  } finally {
    await endHost(underlay)
  }
}
