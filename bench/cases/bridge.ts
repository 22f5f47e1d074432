/** One container on a bridge with host-local, masqueraded or not. */

import { alternate, type Case, type Contenders, noSamples, type Side } from '../case.ts'
import type { Contender } from '../contender.ts'
import { measureMemory } from '../process.ts'
import { type Attachment, attachmentOf, onBothSides, timeInTurn } from './attachment.ts'

/** The version that both sides speak; the masquerading is each side's own default. @param name 15 bytes at most */
export function bridgeConfig(contender: Contender, name: string, ipMasq: boolean): object {
  return {
    cniVersion: '1.0.0',
    name,
    type: 'bridge',
    bridge: name,
    isDefaultGateway: true,
    ipMasq,
    ipam: { type: 'host-local', subnet: '10.77.0.0/16', dataDir: contender.host.dataDirectory },
  }
}

const attachments = (contenders: Contenders, name: string, ipMasq: boolean): Record<Side, Attachment> =>
  onBothSides(contenders, contender =>
    attachmentOf(contender, 'bridge', bridgeConfig(contender, name, ipMasq), `${name}-one`),
  )

function bridgeCase(name: string, ipMasq: boolean, what: string, targets: { add: string; del: string }): Case {
  return {
    name,
    run(contenders, runs) {
      const { add, del } = timeInTurn(attachments(contenders, name, ipMasq), runs)
      return [
        { what: `bridge ADD, ${what}`, unit: 'ms', ...add, target: targets.add },
        { what: `bridge DEL, ${what}`, unit: 'ms', ...del, target: targets.del },
      ]
    },
  }
}

export const masquerade = bridgeCase('masquerade', true, 'gateway, masquerade, host-local', {
  add: 'at most 0.5',
  del: 'at most 0.45',
})

export const plain = bridgeCase('plain', false, 'gateway, host-local', { add: 'at most 1.0', del: 'at most 1.1' })

export const memory: Case = {
  name: 'memory',
  run(contenders, runs) {
    const both = attachments(contenders, 'memory', true)
    const add = noSamples()
    const del = noSamples()
    alternate(runs, side => {
      contenders[side].inside(() => {
        add[side].push(measureMemory(both[side].add))
        del[side].push(measureMemory(both[side].del))
      })
    })
    return [
      { what: 'peak memory of bridge ADD, masquerade', unit: 'MiB', ...add, target: 'at most 34 MiB' },
      { what: 'peak memory of bridge DEL, masquerade', unit: 'MiB', ...del, target: 'at most 34 MiB' },
    ]
  },
}
