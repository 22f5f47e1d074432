/**
 * Runs ADDs on other hosts, and from the moment at which each has returned asks the new container until it answers, from
 * the container in whose namespace this is run. Prints JSON: the milliseconds of each.
 * Usage: first-reply.js <JSON of FirstReplies>
 */

import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { answer, type Command, measure } from './process.ts'

export interface FirstReplies {
  readonly rounds: number
  /** Each is the same attachment; that one is there at the beginning and in the end. */
  readonly attachments: readonly { readonly del: Command; readonly add: Command }[]
}

/** For hosts to forget a container: what is measured is not what its predecessor left. */
const SETTLE_MS = 50
/** A lost packet is asked for again long before the kernel would. */
const AGAIN_MS = 1
const PATIENCE_MS = 5_000
/** Discard: nobody listens there, and the container's kernel says so at once. */
const PORT = 9

/** When the first answer has come, on the clock of performance.now(). */
async function firstAnswer(address: string): Promise<number> {
  const deadline = performance.now() + PATIENCE_MS
  let answered: number | undefined
  while (answered === undefined) {
    if (performance.now() > deadline)
      throw new Error(`${address} has not answered within ${PATIENCE_MS} ms of ADD's return`)
    const socket = connect({ host: address, port: PORT })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') answered ??= performance.now()
    })
    await pause(AGAIN_MS)
  }
  return answered
}

const { rounds, attachments }: FirstReplies = JSON.parse(process.argv[2] ?? '{}')
const samples: number[] = []
for (let round = 0; round < rounds; round++) {
  for (const { del, add } of attachments) {
    measure(del)
    await pause(SETTLE_MS)
    measure(add)
    const returned = performance.now()
    const [ip] = (JSON.parse(answer(add)) as { ips: readonly { address: string }[] }).ips
    samples.push((await firstAnswer((ip?.address ?? '').replace(/\/.*/, ''))) - returned)
  }
}
// Connections that wait for an answer to a packet that was lost would keep it going for minutes.
process.stdout.write(`${JSON.stringify(samples)}\n`, () => process.exit())
