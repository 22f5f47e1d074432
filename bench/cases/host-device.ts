/** One interface of the host that a container gets with host-local, and gives back. */

import { alternate, type Case, type Contenders, noSamples, type Side, sides } from '../case.ts'
import { type Attachment, attachmentOf } from './attachment.ts'

const device = 'spare0'

function attachments(contenders: Contenders): Record<Side, Attachment> {
  const [go, ours] = sides.map(side => {
    const contender = contenders[side]
    contender.host.ip(`link add ${device} type veth peer name wire0\nlink set wire0 up`)
    const config = {
      cniVersion: '1.0.0',
      name: 'host-device',
      type: 'host-device',
      device,
      ipam: { type: 'host-local', subnet: '10.79.0.0/16', dataDir: contender.host.dataDirectory },
    }
    return attachmentOf(contender, 'host-device', config, 'host-device-one')
  })
  if (go === undefined || ours === undefined) throw new Error('both sides have an attachment')
  return { go, ours }
}

export const hostDevice: Case = {
  name: 'host-device',
  run(contenders, runs) {
    const both = attachments(contenders)
    const add = noSamples()
    const del = noSamples()
    alternate(runs, side => {
      const timing = both[side].time()
      add[side].push(timing.add)
      del[side].push(timing.del)
    })
    return [
      { what: 'host-device ADD, host-local', unit: 'ms', ...add },
      { what: 'host-device DEL, host-local', unit: 'ms', ...del },
    ]
  },
}
