/** DEL: the interface is what it was before ADD, if it is still there. Nothing is a reason to fail. */

import { withSockets } from '../../lib/attachment/sockets.ts'
import { warn } from '../../lib/attachment/warning.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { getLink } from '../../lib/netlink/route/link/index.ts'
import { unlinkIfExists } from '../../lib/sys/file.ts'
import { type Backup, backupName, hostMtuOf, readBackup, settingsOf } from './backup.ts'
import { dataDirectoryOf } from './config.ts'
import { changeLink, findHostEnd, interfaceIdentity, mtuOnly } from './interface.ts'

export function del(request: AttachmentRequest): void {
  const path = `${dataDirectoryOf(request)}/${backupName(request)}`
  attempt(request, () => {
    const backup = readBackup(path)
    if (backup === undefined) return
    if (request.netns !== '') attempt(request, () => restore(request, backup))
    unlinkIfExists(path)
  })
}

/** Sysctls stay: they end with the namespace. */
function restore(request: AttachmentRequest, backup: Backup): void {
  withSockets(request.netns, sockets => {
    const { container, host } = sockets
    const link = getLink(container, { name: request.ifname })
    if (link === undefined) return
    // The Go plugin's do not say which interface they are of.
    if (backup.interface !== undefined && backup.interface !== interfaceIdentity(sockets, link)) return
    const hostMtu = hostMtuOf(backup)
    const hostEnd = hostMtu === undefined ? undefined : findHostEnd(sockets, link)
    const failures = [
      ...changeLink(container, link, settingsOf(backup)),
      ...(hostMtu === undefined || hostEnd === undefined ? [] : changeLink(host, hostEnd, mtuOnly(hostMtu))),
    ]
    for (const { message } of failures) warn(request, message)
  })
}

/** What fails is told, and no more. */
function attempt(request: AttachmentRequest, run: () => void): void {
  try {
    run()
  } catch (error) {
    warn(request, `DEL goes on: ${error instanceof Error ? error.message : String(error)}`)
  }
}
