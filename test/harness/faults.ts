/** ADDs that do not come to their end: made to fail in any step, killed, or told to stop. */

import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Outcome } from './execute.ts'
import type { Attachment, AttachmentOptions, Network } from './network.ts'
import { differences, type Snapshot, snapshot } from './snapshot.ts'

export interface FailedSteps {
  /** How many steps were made to fail. */
  readonly steps: number
  /** The one whose ADD succeeded in the end. */
  readonly attachment: Attachment
}

/**
 * Lets ADD fail in its first step, then in its second and so on, until there is none left to fail and it succeeds. Each
 * time the container has to be empty again; `failed` looks at everything else.
 */
export function failEveryStep(
  t: Test,
  network: Network,
  options: AttachmentOptions,
  failed: (claim: string, details: string) => void,
): FailedSteps {
  for (let failing = 1; ; failing++) {
    const environment = { ...options.environment, CNIKIT_FAIL_STEP: String(failing) }
    const attachment = network.attachment({ containerId: 'fails', ...options, environment })
    const { status, error } = attachment.tryAdd()
    if (status === 0) return { steps: failing - 1, attachment }
    const details = error?.details ?? ''
    const claim = details.split('\n').find(line => line.startsWith('failed in step')) ?? `step ${failing}`
    t.match(error, { code: 199, msg: `CNIKIT_FAIL_STEP=${failing} makes this step fail` }, claim)
    t.match(details, /failed in step/, claim)
    t.notMatch(details, /cannot undo/, claim)
    t.same(attachment.container.links(), ['lo'], `${claim}: the container`)
    failed(claim, details)
  }
}

/** How long an ADD takes here and now, in milliseconds: so that signals come while one runs, on any machine. */
export function durationOfAdd(network: Network): number {
  let shortest = Number.POSITIVE_INFINITY
  // The first one may read the executable from the disk; signals would then come when the others have long ended.
  for (let run = 0; run < 3; run++) {
    const attachment = network.attachment()
    const start = performance.now()
    attachment.add()
    shortest = Math.min(shortest, performance.now() - start)
    attachment.del()
  }
  return shortest
}

/** Starts an ADD that gets a signal at a random moment of the next so many milliseconds, and tells how it ended. */
export async function interruptedAdd(attachment: Attachment, signal: NodeJS.Signals, within: number): Promise<Outcome> {
  const child = attachment.network.start(attachment.request('ADD'))
  await pause(Math.random() * within)
  child.signal(signal)
  return child.ended
}

/** An address file that was made and not written yet: it names no owner, and its address counts as free. */
const unwrittenAddress = /^\+ files \S*networks\/[^/ ]+\/[0-9a-f.:]+ 600 ""$/

/**
 * What killed ADDs have left on the host although a DEL followed each, and what GC then leaves of address files. DEL cannot
 * know whose an unwritten one was (docs/host-local.md, "an empty or torn address file"); GC has to take it away.
 */
export function leftByKilledAdds(network: Network, before: Snapshot): string[] {
  const { host } = network
  const afterDel = differences(before, snapshot(host)).filter(line => !unwrittenAddress.test(line))
  network.gc([])
  const afterGc = differences(before, snapshot(host)).filter(line => line.startsWith('+ files '))
  return [...afterDel, ...afterGc.map(line => `${line}, after GC`)]
}

/** So many ADDs in one container that are told to stop at random moments: each is complete, or undone. */
export async function assertUndoneBySignals(t: Test, network: Network, runs: number): Promise<void> {
  const { host } = network
  const duration = durationOfAdd(network)
  const before = snapshot(host)
  const container = host.createContainer()
  const ends = { complete: 0, undone: 0 }
  for (let run = 0; run < runs; run++) {
    const attachment = network.attachment({ container, containerId: `stopped-${run}` })
    const adding = attachment.addBeside(child => {
      const signal = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const)[run % 3] ?? 'SIGTERM'
      setTimeout(() => child.signal(signal), Math.random() * 1.3 * duration)
    })
    const failure = await adding.then(
      () => undefined,
      (error: Error) => error,
    )
    if (failure === undefined) {
      ends.complete++
      t.equal(attachment.check().stdout, '', 'complete')
      attachment.del()
    } else {
      ends.undone++
      t.match(failure.message, /"code": 107|ended with SIG/)
    }
    t.same(container.links(), ['lo'])
    t.same(differences(before, snapshot(host)), [], failure?.message ?? 'complete, and deleted again')
  }
  t.comment(`${ends.complete} complete, ${ends.undone} undone`)
  t.ok(ends.undone > 0, `${ends.undone} undone`)
}
