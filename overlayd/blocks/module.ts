/** Cluster IPAM as a module of the agent. */

import { CniError } from '../../lib/cni/errors.ts'
import type { Module } from '../context.ts'
import { AddressBlocks } from './address-blocks.ts'

/** The lease is renewed this often: without etcd, ADD works for as much less than settings.deadAfter at most. */
const RENEW_SECONDS = 10
const REVIEW_SECONDS = 1
const SWEEP_SECONDS = 60

export const blocks: Module = ({ node, store, log, settings, serve, every }) => {
  const addressBlocks = new AddressBlocks({
    node,
    store,
    log,
    dataDirectory: settings.ipam.directory,
    deadAfterSeconds: settings.deadAfter,
    leaseAhead: settings.ipam.leaseAhead,
    idleSeconds: settings.ipam.idle,
  })
  serve('block', request => addressBlocks.block(request))
  return {
    async start() {
      try {
        await addressBlocks.start()
      } catch (error) {
        // Without etcd the agent waits for it, and the plugins go on with what they have.
        if (!(error instanceof CniError)) throw error
        log.warn('the address blocks wait for etcd', { error })
      }
      every(RENEW_SECONDS, 'renew the lease of the address blocks', () => addressBlocks.renew())
      every(REVIEW_SECONDS, 'look after the address blocks', () => addressBlocks.review())
      every(SWEEP_SECONDS, 'remove pins of dead nodes', () => addressBlocks.sweep())
    },
    async stop() {
      addressBlocks.stop()
    },
  }
}
