/** One container on a host interface with host-local. */

import type { Case } from '../case.ts'
import type { Contender } from '../contender.ts'
import { type Attachment, attachmentOf, onBothSides, timeInTurn } from './attachment.ts'

const master = 'uplink'

/** On a master that another container uses already, as on a host in service. */
function attachment(contender: Contender): Attachment {
  const config = {
    cniVersion: '1.0.0',
    name: 'macvlan',
    type: 'macvlan',
    master,
    ipam: { type: 'host-local', subnet: '10.78.0.0/16', dataDir: contender.host.dataDirectory },
  }
  contender.host.ip(`link add ${master} type veth peer name switch
link set ${master} up
link set switch up`)
  const neighbour = contender.host.createContainer()
  contender.host.output(
    `ip link add link ${master} name eth0 netns ${neighbour.name} type macvlan mode bridge`.split(' '),
  )
  neighbour.ip('link set eth0 up')
  return attachmentOf(contender, 'macvlan', config, 'macvlan-one')
}

export const macvlan: Case = {
  name: 'macvlan',
  run(contenders, runs) {
    const { add, del } = timeInTurn(onBothSides(contenders, attachment), runs)
    return [
      { what: 'macvlan ADD, host-local', unit: 'ms', ...add, target: 'at most 0.9' },
      { what: 'macvlan DEL, host-local', unit: 'ms', ...del, target: 'at most 1.0' },
    ]
  },
}
