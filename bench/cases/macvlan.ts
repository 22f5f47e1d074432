/** One container on a host interface with host-local. */

import { alternate, type Case, type Contenders, noSamples, type Side, sides } from '../case.ts'
import { type Attachment, attachmentOf } from './attachment.ts'

const master = 'uplink'

/** An attachment on either side, on a master that another container uses already, as on a host in service. */
function attachments(contenders: Contenders): Record<Side, Attachment> {
  const made = sides.map(side => {
    const contender = contenders[side]
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
  })
  const [go, ours] = made
  if (go === undefined || ours === undefined) throw new Error('both sides have an attachment')
  return { go, ours }
}

export const macvlan: Case = {
  name: 'macvlan',
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
      { what: 'macvlan ADD, host-local', unit: 'ms', ...add, target: 'at most 0.9' },
      { what: 'macvlan DEL, host-local', unit: 'ms', ...del, target: 'at most 1.0' },
    ]
  },
}
