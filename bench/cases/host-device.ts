/** One interface of the host that a container gets with host-local, and gives back. */

import type { Case } from '../case.ts'
import type { Contender } from '../contender.ts'
import { type Attachment, attachmentOf, onBothSides, timeInTurn } from './attachment.ts'

const device = 'spare0'

function attachment(contender: Contender): Attachment {
  contender.host.ip(`link add ${device} type veth peer name wire0\nlink set wire0 up`)
  const config = {
    cniVersion: '1.0.0',
    name: 'host-device',
    type: 'host-device',
    device,
    ipam: { type: 'host-local', subnet: '10.79.0.0/16', dataDir: contender.host.dataDirectory },
  }
  return attachmentOf(contender, 'host-device', config, 'host-device-one')
}

export const hostDevice: Case = {
  name: 'host-device',
  run(contenders, runs) {
    const { add, del } = timeInTurn(onBothSides(contenders, attachment), runs)
    return [
      { what: 'host-device ADD, host-local', unit: 'ms', ...add },
      { what: 'host-device DEL, host-local', unit: 'ms', ...del },
    ]
  },
}
