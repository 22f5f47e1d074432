/** overlayd as the cases that measure it start it, and the memory that it takes. */

import type { OverlayAgent } from '../test/harness/index.ts'

/** As in production: no debug log, and comparisons no more often than there. */
export const agentSettings = { leaseSeconds: 15, reconcileSeconds: 60, logLevel: 'info' }

/** What it has resident now, in MiB. */
export const mebibytes = (agent: OverlayAgent): number => agent.metric('resident_bytes') / 2 ** 20

/** The most that it has had resident since it was started, in MiB. */
export const peakMebibytes = ({ peakBytes }: OverlayAgent): number => peakBytes / 2 ** 20
