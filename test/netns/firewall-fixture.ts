/** What the tests of lib/netlink/netfilter and lib/firewall share. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { libc } from '#libc'
import { type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../lib/netlink/socket.ts'
import { check } from '../../lib/sys/call.ts'
import { O, open, withDescriptor } from '../../lib/sys/file.ts'
import { type NetworkNamespace, repositoryRoot } from '../harness/index.ts'

const CLONE_NEWNET = 0x40000000

/** Runs a synchronous function of the library in the namespace, on the test's own thread, and comes back. */
export function inside<T>(namespace: NetworkNamespace, run: () => T): T {
  const enter = (fd: number): number =>
    check(
      () => 'enter network namespace',
      () => libc.setns(fd, CLONE_NEWNET),
    )
  return withDescriptor(open('/proc/thread-self/ns/net', O.RDONLY), home => {
    withDescriptor(open(namespace.path, O.RDONLY), enter)
    try {
      return run()
    } finally {
      enter(home)
    }
  })
}

/** Gives the function a netlink socket of the namespace. */
export function withNetlink<T>(namespace: NetworkNamespace, protocol: number, use: (socket: NetlinkSocket) => T): T {
  const socket = inside(namespace, () => new NetlinkSocket(protocol))
  try {
    return use(socket)
  } finally {
    socket.close()
  }
}

/** Gives the function a netfilter socket of the namespace. */
export const withNetfilter = <T>(namespace: NetworkNamespace, use: (socket: NetlinkSocket) => T): T =>
  withNetlink(namespace, NetlinkProtocol.netfilter, use)

/** A prefix that the test wrote itself. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new TypeError(`not a prefix: ${text}`)
  return parsed
}

/** What "nft list ruleset" says in the namespace. */
export function ruleset(namespace: NetworkNamespace): string {
  return namespace.output(['nft', 'list', 'ruleset'])
}

/** What "nft -j list ruleset" says, without what differs between runs: versions and handles. */
export function rulesetJson(namespace: NetworkNamespace): string {
  const { nftables } = JSON.parse(namespace.output(['nft', '-j', 'list', 'ruleset'])) as { nftables: object[] }
  const objects = nftables.filter(object => !('metainfo' in object))
  return `${objects.map(object => JSON.stringify(object, (key, value) => (key === 'handle' ? undefined : value))).join('\n')}\n`
}

/** Compares with test/netns/golden/<name>; CNIKIT_UPDATE_GOLDEN=1 writes it instead. */
export function matchesGolden(t: Test, text: string, name: string): void {
  const path = join(repositoryRoot, 'test/netns/golden', name)
  if (process.env.CNIKIT_UPDATE_GOLDEN === '1') writeFileSync(path, text)
  t.equal(text, readFileSync(path, 'utf8'), `as in golden/${name}`)
}

/** Counts the messages that netlink sockets send and receive while the function runs. */
export function countingMessages(run: () => void): { sent: number; received: number } {
  const original = { send: libc.send, recv: libc.recv }
  const count = { sent: 0, received: 0 }
  replaceCalls({
    send: (...call) => {
      count.sent++
      return original.send(...call)
    },
    recv: (...call) => {
      count.received++
      return original.recv(...call)
    },
  })
  try {
    run()
  } finally {
    replaceCalls(original)
  }
  return count
}

/**
 * Runs `disturb` when the function is about to send an nftables batch: before the n-th (from 1), or before each.
 * Batches that `disturb` sends itself do not count.
 */
export function disturbedBeforeBatch(which: number | 'each', disturb: () => void, run: () => void): void {
  const original = { send: libc.send }
  let batches = 0
  const disturbing: Pick<typeof libc, 'send'> = {
    send: (...call) => {
      const [, message] = call
      // The type in struct nlmsghdr: NFNL_MSG_BATCH_BEGIN.
      const isBatch = message?.[4] === 16 && message[5] === 0
      if (isBatch && (++batches === which || which === 'each')) {
        replaceCalls(original)
        disturb()
        replaceCalls(disturbing)
      }
      return original.send(...call)
    },
  }
  replaceCalls(disturbing)
  try {
    run()
  } finally {
    replaceCalls(original)
  }
}

/** The binding is one object for all of lib: a test may put its own functions into it. */
function replaceCalls(calls: Partial<Pick<typeof libc, 'send' | 'recv'>>): void {
  Object.assign(libc, calls)
}
