/** GC: backups of attachments that nobody knows any more. */

import { runAll } from '../../lib/cni/best-effort.ts'
import type { GcRequest } from '../../lib/cni/types.ts'
import { listDirectory, unlinkIfExists } from '../../lib/sys/file.ts'
import { backupName, readBackup } from './backup.ts'
import { dataDirectoryOf } from './config.ts'

export function gc(request: GcRequest): void {
  const { validAttachments, network } = request
  if (validAttachments === undefined) return
  const directory = dataDirectoryOf(request)
  const valid = new Set(validAttachments.map(backupName))
  const lost = (listDirectory(directory) ?? []).filter(name => name.endsWith('.json') && !valid.has(name))
  runAll(
    lost.map(name => () => {
      const path = `${directory}/${name}`
      // Networks share the directory. The Go plugin's files do not say which they are of, and stay.
      if (readBackup(path)?.network === network) unlinkIfExists(path)
    }),
  )
}
