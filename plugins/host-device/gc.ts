/** GC: devices of attachments that nobody knows any more go back to the host. */

import { runAll } from '../../lib/cni/best-effort.ts'
import { delegateGc } from '../../lib/cni/delegate.ts'
import type { AttachmentId, GcRequest } from '../../lib/cni/types.ts'
import { findAway, listRecorded } from './away.ts'
import { parseHostDeviceConfig } from './config.ts'
import { type Home, withHome } from './home.ts'
import type { DeviceRecord } from './record.ts'
import { moveHome, restore } from './travel.ts'

export function gc(request: GcRequest): void {
  const { ipamType } = parseHostDeviceConfig(request)
  const { validAttachments, network } = request
  runAll([
    () => {
      if (validAttachments !== undefined)
        withHome(request, home => bringLostHome(home, record => isLost(record, network, validAttachments)))
    },
    // Last, as in DEL: addresses are free when their interfaces are gone.
    () => {
      if (ipamType !== undefined) delegateGc(request, ipamType)
    },
  ])
}

function isLost(record: DeviceRecord, network: string, valid: readonly AttachmentId[]): boolean {
  const { containerId, ifname } = record
  return record.network === network && !valid.some(one => one.containerId === containerId && one.ifname === ifname)
}

function bringLostHome(home: Home, isLost: (record: DeviceRecord) => boolean): void {
  const tasks: (() => void)[] = []
  for (const { link, record } of listRecorded(home.socket)) {
    if (isLost(record)) tasks.push(() => restore(home, link, record))
  }
  tasks.push(() => {
    findAway(home, ({ link, record }, container) => {
      // Cards alone: whoever rules in a container can make any other link there, and write a record that would bring it
      // to the host. Such links end with their namespace.
      if (link.kind === undefined && isLost(record)) moveHome(home, container, link, record)
      return undefined
    })
  })
  runAll(tasks)
}
