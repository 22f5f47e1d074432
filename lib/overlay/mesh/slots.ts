/**
 * Which replica a connection goes to. A service has slots; the kernel picks one for every new connection, by chance or by
 * a hash of the client's address, and a map says which replica the slot leads to. All hosts fill the slots alike without
 * asking each other, and when a replica comes or goes few of the others' slots change hands.
 */

/** A way of picking: one of `count` slots that are numbered from `first` on. */
export interface SlotRange {
  readonly count: number
  readonly first: number
}

export type Affinity = 'none' | 'client'

/**
 * The sizes there are: a rule of nftables picks among a number of slots that it holds itself, so that each size is a rule
 * for every family and affinity, however many services there are. No slot number occurs twice, so that all are in one map.
 */
export const slotRanges: Readonly<Record<Affinity, readonly SlotRange[]>> = {
  none: [
    { count: 16, first: 16 },
    { count: 128, first: 128 },
    { count: 1024, first: 1024 },
  ],
  client: [
    { count: 16, first: 4096 + 16 },
    { count: 128, first: 4096 + 128 },
    { count: 1024, first: 4096 + 1024 },
  ],
}

/** As many slots per replica at least, where there is a size for it: the replicas' shares then differ by a quarter at most. */
const SLOTS_PER_REPLICA = 4

/** The slots of a service with so many replicas. */
export function slotsFor(affinity: Affinity, replicas: number): SlotRange {
  const ranges = slotRanges[affinity]
  const range = ranges.find(({ count }) => count >= replicas * SLOTS_PER_REPLICA) ?? ranges.at(-1)
  if (range === undefined) throw new RangeError('no sizes of slots')
  return range
}

/**
 * Gives each slot to a replica: the one that wins most of a contest of hashes (rendezvous hashing) among those that do
 * not have their share yet. Shares differ by one slot at most.
 *
 * @param seed sets services apart from each other: that of all ports of a service is the same, so that a client with
 *   affinity has the same replica on each of them
 * @param replicas what names them, in any order, none twice
 * @returns the index of the replica for each slot; empty without replicas. Beyond `count` replicas the last get nothing.
 */
export function fillSlots(seed: string, replicas: readonly string[], count: number): Uint16Array {
  const slots = new Uint16Array(replicas.length === 0 ? 0 : count)
  const contest = rankings(seed, replicas, count)
  const smallShare = Math.floor(count / (replicas.length || 1))
  let largeShares = count % (replicas.length || 1)
  const shares = new Uint16Array(replicas.length)
  const taken = new Uint8Array(count)
  for (const { slot, replica } of contest) {
    if (taken[slot] === 1) continue
    const share = shares[replica] ?? 0
    if (share > smallShare || (share === smallShare && largeShares === 0)) continue
    if (share === smallShare) largeShares--
    shares[replica] = share + 1
    taken[slot] = 1
    slots[slot] = replica
  }
  return slots
}

/** Every pair of a slot and a replica, the best matches first. */
function rankings(seed: string, replicas: readonly string[], count: number): { slot: number; replica: number }[] {
  const pairs: { slot: number; replica: number; score: number; name: string }[] = []
  for (const [replica, name] of replicas.entries()) {
    const base = hashOf(`${seed}\n${name}`)
    for (let slot = 0; slot < count; slot++) {
      pairs.push({ slot, replica, score: scrambled(base ^ Math.imul(slot + 1, 0x9e3779b1)), name })
    }
  }
  return pairs.sort((a, b) => b.score - a.score || a.slot - b.slot || (a.name < b.name ? -1 : 1))
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return scrambled(hash)
}

/** The finaliser of MurmurHash3: every bit of the input changes half of the output's. */
function scrambled(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
